//! Labels of a namespace by which its doors open to everybody, or by which what was seen stays as it is: each change of these is put
//! on the record when the API server asks about it. Nobody is stopped by that.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::{Gate, is_open, replaces};
use crate::review::{Question, ReviewError, Verdict};

/// A namespace, as far as it matters here.
#[derive(Deserialize)]
struct Namespace {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// What labels say.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Said {
    open: bool,
    replaced: bool,
}

/// A namespace without labels.
const USUAL: Said = Said { open: false, replaced: true };

// === impl Gate ===

impl Gate {
    /// Tells the server when a namespace is made or changed such that its doors open or close.
    ///
    /// # Errors
    /// The question holds no namespace.
    pub async fn relabelled(&self, question: &Question<'_>) -> Result<Verdict, ReviewError> {
        let after = Said::of(question.object("Namespace")?);
        let before = if question.operation == "UPDATE" { Said::of(question.old_object("Namespace")?) } else { USUAL };
        if before == after || question.dry_run {
            return Ok(Verdict::allowed());
        }
        let (namespace, user) = (&question.name, &question.user_info.username);
        let change = json!({
            "cluster": self.cluster, "namespace": namespace, "user": user, "question": question.uid,
            "open": after.open, "was_open": before.open, "replaced": after.replaced, "was_replaced": before.replaced,
        });
        let mut warnings = after.warnings(before);
        if let Err(why) = self.keeper.relabelled(&change).await {
            tracing::warn!(
                namespace,
                user,
                open = after.open,
                replaced = after.replaced,
                why,
                "labels that are not on the record"
            );
            warnings.push(format!("dewdrop: this change of labels is not on the record: {why}"));
        }
        Ok(Verdict { warnings, ..Verdict::allowed() })
    }
}

// === impl Said ===

impl Said {
    fn of(namespace: Namespace) -> Self {
        let labels = namespace.metadata.labels.unwrap_or_default();
        Self { open: is_open(&labels), replaced: replaces(&labels) }
    }

    /// What whoever opens something reads.
    fn warnings(self, before: Self) -> Vec<String> {
        let opened = (self.open && !before.open).then(|| {
            "dewdrop: from now on nobody needs a grant to get into pods with secrets of this namespace".to_owned()
        });
        let kept = (!self.replaced && before.replaced).then(|| {
            "dewdrop: from now on secrets of this namespace are not replaced after somebody has seen them".to_owned()
        });
        opened.into_iter().chain(kept).collect()
    }
}

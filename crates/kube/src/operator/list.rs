//! All objects of a kind, in pages. Whoever may write objects may make them large: what one team writes must not keep the
//! operator from reading the others', or a grant that is withdrawn would have no effect.

use serde::Deserialize;
use serde_json::Value;

use crate::cluster::{Api, LookUpError, part};

/// How many are asked for at once. With objects that are too large for one answer it is fewer; one always fits, as etcd takes
/// no object of more than 1.5 MiB.
const PAGE: usize = 200;

/// All there is of a kind.
pub struct All<T> {
    /// Those that can be read.
    pub items: Vec<T>,
    /// Whether these are all.
    pub is_whole: bool,
    /// From which version on a change counts.
    pub version: String,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(default)]
    items: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMeta {
    resource_version: String,
    /// Where to go on; empty: this was the last.
    r#continue: String,
}

/// Lists a kind; all pages are of one moment.
///
/// # Errors
/// The API server cannot be asked, or does not know the kind.
pub async fn list<T: for<'de> Deserialize<'de>>(
    api: &Api,
    path: &str,
    what: &'static str,
) -> Result<All<T>, LookUpError> {
    let none = || LookUpError::Away(format!("it knows no {what}: install the CRDs (deploy/helm/dewdrop/crds)"));
    let (mut limit, mut next) = (PAGE, String::new());
    let mut all = All { items: Vec::new(), is_whole: true, version: String::new() };
    loop {
        let page = match api.get::<Page>(&format!("{path}?limit={limit}&continue={next}"), what).await {
            Err(LookUpError::TooLarge(_)) if limit > 1 => {
                limit = (limit / 4).max(1);
                continue;
            }
            page => page?.ok_or_else(none)?,
        };
        let many = page.items.len();
        let before = all.items.len();
        all.items.extend(page.items.into_iter().filter_map(readable));
        all.is_whole &= all.items.len() - before == many;
        all.version = page.metadata.resource_version;
        if page.metadata.r#continue.is_empty() {
            return Ok(all);
        }
        next = part(&page.metadata.r#continue);
    }
}

/// One object that cannot be read does not keep the others waiting.
fn readable<T: for<'de> Deserialize<'de>>(item: Value) -> Option<T> {
    serde_json::from_value(item).inspect_err(|error| tracing::warn!(%error, "an object is left out")).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dewdrop_core::Moment;
    use dewdrop_testkit::fake_api::{Asked, FakeApi};
    use serde_json::json;

    use super::*;
    use crate::certs::Own;
    use crate::operator::kinds::SecretAccess;

    const PATH: &str = "/apis/dewdrop.dev/v1alpha1/secretaccesses";

    /// An API server with these objects, of which each has a page.
    async fn played(objects: Vec<Value>) -> (Arc<FakeApi>, Api, tempfile::TempDir) {
        // Made beforehand: an answer of some MiB must not take long.
        let objects: Vec<String> = objects.iter().map(Value::to_string).collect();
        let server = FakeApi::start(move |asked| answer(&objects, asked)).await;
        let folder = tempfile::tempdir().unwrap();
        let own = Own::new(vec!["localhost".into()], Moment(1_800_000_000_000)).unwrap();
        own.write_ca(&folder.path().join("ca.crt")).unwrap();
        std::fs::write(folder.path().join("token"), "t").unwrap();
        let api = Api::new(&server.url, folder.path()).unwrap();
        (server, api, folder)
    }

    /// As the API server does: from a place on, and so many.
    fn answer(objects: &[String], asked: &Asked) -> (u16, String) {
        let field = |name: &str| {
            let query = asked.line.split_once('?').map_or("", |(_, query)| query);
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned()
        };
        let limit: usize = field("limit").parse().unwrap_or(usize::MAX);
        let from: usize = field("continue").strip_prefix("at%20").and_then(|at| at.parse().ok()).unwrap_or(0);
        let end = objects.len().min(from.saturating_add(limit));
        let next = if end < objects.len() { format!("at {end}") } else { String::new() };
        let metadata = json!({ "resourceVersion": "7", "continue": next });
        (200, format!("{{\"metadata\":{metadata},\"items\":[{}]}}", objects[from..end].join(",")))
    }

    fn object(name: &str, ballast: usize) -> Value {
        json!({
            "metadata": { "name": name, "namespace": "shop", "uid": name, "annotations": { "x": "x".repeat(ballast) } },
            "spec": { "serviceAccountNames": ["web"], "containers": ["app"], "paths": [{ "path": "secret/a" }] },
        })
    }

    #[tokio::test]
    async fn objects_that_are_too_large_for_one_answer_are_read_all_the_same() {
        let many: Vec<Value> = (0..34).map(|n| object(&format!("a{n}"), 256 << 10)).collect();
        let (_server, api, _folder) = played(many).await;
        let all = list::<SecretAccess>(&api, PATH, "secretaccesses").await.unwrap();
        let names: Vec<_> = all.items.iter().map(|access| access.metadata.name.clone()).collect();
        assert_eq!(names, (0..34).map(|n| format!("a{n}")).collect::<Vec<_>>());
        assert!(all.is_whole && all.version == "7");
    }

    #[tokio::test]
    async fn all_pages_are_read_and_what_cannot_be_read_shows() {
        let mut many: Vec<Value> = (0..PAGE + 3).map(|n| object(&format!("a{n}"), 0)).collect();
        many[PAGE + 1]["spec"]["paths"] = json!("none");
        let (server, api, _folder) = played(many).await;
        let all = list::<SecretAccess>(&api, PATH, "secretaccesses").await.unwrap();
        assert_eq!((all.items.len(), all.is_whole), (PAGE + 2, false));
        assert_eq!(server.asked().len(), 2);
    }
}

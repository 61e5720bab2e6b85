//! What a role may bind beside the container's name: its pod's labels, as the API server has them, and its image. Both come from
//! the API server and never from the pod itself or from kubelet.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Agent;
use super::fail::Fail;
use super::hold::About;
use crate::api_watch::PodSeen;

/// A container's start waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is told to the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traits {
    /// The pod's labels; `None`: the agent cannot ask the API server.
    pub labels: Option<BTreeMap<String, String>>,
    /// The image as the pod names it. With a digest it is one image and no other; a tag proves nothing.
    pub image: Option<String>,
}

// === impl Traits ===

impl Traits {
    fn of(pod: PodSeen, container: &str) -> Self {
        let PodSeen { labels, mut images, .. } = pod;
        Self { labels: Some(labels), image: images.remove(container) }
    }

    /// What a refusal may come from, for the pod's events.
    pub(super) fn explain(&self, why: Fail) -> Fail {
        if why.status() != Some(403) {
            return why;
        }
        let has_digest = self.image.as_ref().is_some_and(|image| image.contains("@sha256:"));
        let hint = match (&self.labels, has_digest) {
            (None, _) => {
                "this node's agent has no access to the API server: a role with bound_pod_labels or bound_image_digests refuses all its pods"
            }
            (Some(_), false) => {
                "a role with bound_image_digests wants the image named by its digest, NAME@sha256:...; a tag may be another image by the time it starts"
            }
            (Some(_), true) => return why,
        };
        Fail::Hinted(Box::new(why), hint)
    }
}

impl Agent {
    /// As far as it is known. What cannot be known is not told: a role that wants it refuses.
    pub(super) async fn traits(&self, about: &About) -> Traits {
        let container = &about.spec.container;
        if let Some(pod) = self.second.pod(&about.pod.uid) {
            return Traits::of(pod, container);
        }
        let Some(api) = &self.second.api else { return Traits::default() };
        let asked = tokio::time::timeout(PATIENCE, api.pod(&about.pod.namespace, &about.pod.name)).await;
        match asked {
            Ok(Ok(Some(pod))) if pod.uid == about.pod.uid => Traits::of(pod, container),
            Ok(Err(why)) => {
                tracing::warn!(pod = %about.pod.name, namespace = %about.pod.namespace, %why, "the labels of a pod are not known");
                Traits::default()
            }
            _ => Traits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16) -> Fail {
        let api = dewdrop_api::ApiError {
            status,
            method: "POST".into(),
            url: "http://x/v1/auth/kubernetes/agent/start".into(),
            errors: vec!["permission denied".into()],
            namespace: None,
            raw: None,
        };
        Fail::Server(dewdrop_api::Error::Api(Box::new(api)))
    }

    fn traits(image: &str) -> Traits {
        let images = [("app".to_owned(), image.to_owned())].into();
        Traits::of(
            PodSeen { labels: [("tier".to_owned(), "web".to_owned())].into(), images, ..PodSeen::default() },
            "app",
        )
    }

    #[test]
    fn a_refusal_says_what_it_may_come_from() {
        let told = |traits: &Traits, status| traits.explain(refusal(status)).to_string();
        assert!(told(&Traits::default(), 403).contains("no access to the API server"));
        assert!(told(&traits("app:1"), 403).contains("NAME@sha256:"));
        assert!(!told(&traits(&format!("app@sha256:{}", "a".repeat(64))), 403).contains("NAME@sha256:"));
        assert!(!told(&Traits::default(), 500).contains("no access"));
        assert_eq!(traits("app:1").explain(refusal(403)).status(), Some(403));
    }

    #[test]
    fn labels_and_image_are_the_pods() {
        let known = traits("app:1");
        assert_eq!(known.labels.unwrap()["tier"], "web");
        assert_eq!(known.image.as_deref(), Some("app:1"));
        assert_eq!(Traits::of(PodSeen::default(), "app").image, None);
    }
}

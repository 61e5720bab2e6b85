//! What reads the API server's bytes: the fuzzer and the ordinary tests both call these. They fail by panicking.

use dewdrop_core::fuzzing::Target;

use crate::pod::Pod;
use crate::review::Question;

/// By the name of its corpus.
pub const TARGETS: &[Target] = &[("admission-review", admission_review)];

/// A question about a pod, as far as it can be read without looking anything up.
fn admission_review(bytes: &[u8]) {
    let Ok(question) = Question::read(bytes) else { return };
    let _ = (question.user_info.groups().count(), question.is_core("pods", ""));
    if let Ok(pod) = question.object::<Pod>("pod") {
        let named = pod.all_containers().filter(|one| pod.container(&one.name).is_some()).count();
        assert!(named <= pod.all_containers().count(), "more containers than there are");
    }
}

#[cfg(test)]
#[test]
fn the_webhook_reads_anything() {
    dewdrop_testkit::fuzz::replay(TARGETS);
}

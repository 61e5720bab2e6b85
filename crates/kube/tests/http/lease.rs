//! Which of several operators works.

use dewdrop_core::Moment;
use dewdrop_kube::operator::Leader;

use super::played::Played;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/dewdrop-system/leases/dewdrop-operator";

fn at(second: u64) -> Moment {
    Moment(1_800_000_000_000 + second * 1000)
}

/// Operators of one cluster.
async fn operators<const N: usize>(played: &Played) -> ([Leader; N], tempfile::TempDir) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let api = played.start(folder.path()).await;
    let leader =
        |n| Leader::new(api.clone(), "dewdrop-system".into(), "dewdrop-operator".into(), format!("operator-{n}"));
    (std::array::from_fn(leader), folder)
}

fn holder(played: &Played) -> String {
    played.at(LEASE)["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn one_leads_and_the_other_takes_over_when_it_is_silent() {
    let played = Played::default();
    let ([mut first, mut second], _folder) = operators::<2>(&played).await;
    assert!(first.holds(at(0)).await);
    for now in 0..60 {
        assert!(first.holds(at(now)).await, "second {now}");
        assert!(!second.holds(at(now)).await, "second {now}");
    }
    // The first is not heard of any more; what the second has seen last is from second 55.
    let taken = {
        let mut now = 60;
        while !second.holds(at(now)).await {
            now += 1;
        }
        now
    };
    assert!((69..=72).contains(&taken), "taken at second {taken}");
    assert_eq!(holder(&played), "operator-1");
    // It comes back and knows that it is late.
    assert!(!first.holds(at(taken)).await);
}

#[tokio::test]
async fn who_ends_in_peace_keeps_nobody_waiting() {
    let played = Played::default();
    let ([mut first, mut second], _folder) = operators::<2>(&played).await;
    assert!(first.holds(at(0)).await && !second.holds(at(1)).await);
    first.release(at(2)).await;
    assert!(second.holds(at(3)).await);
    // Whoever holds it no more gives away nothing.
    first.release(at(4)).await;
    assert_eq!(holder(&played), "operator-1");
}

#[tokio::test]
async fn who_cannot_renew_stops_before_another_may_start() {
    let played = Played::default();
    let ([mut first], folder) = operators::<1>(&played).await;
    assert!(first.holds(at(0)).await);
    std::fs::write(folder.path().join("token"), "another").unwrap();
    assert!(first.holds(at(9)).await);
    for now in 10..20 {
        assert!(!first.holds(at(now)).await, "second {now}");
    }
}

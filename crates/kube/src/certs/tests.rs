use std::path::Path;
use std::time::Duration;

use dewdrop_core::FakeClock;

use super::*;

const NOW: Moment = Moment(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn own() -> Own {
    Own::new(vec!["dewdrop-webhook.dewdrop-system.svc".into()], NOW).unwrap()
}

/// Writes what an authority of its own makes.
fn files(folder: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    let made = rcgen::generate_simple_self_signed(vec!["x".into()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

#[tokio::test]
async fn our_own_is_renewed_before_its_end_and_not_earlier() {
    let clock = FakeClock::at(NOW);
    let (mut keeper, tls) = Keeper::open(Box::new(own()), clock.clone()).await.unwrap();
    let first = tls.current();
    clock.advance(DAY * 19);
    assert!(!keeper.look().await.unwrap());
    assert!(Arc::ptr_eq(&first, &tls.current()));
    clock.advance(DAY * 2);
    assert!(keeper.look().await.unwrap());
    assert!(!Arc::ptr_eq(&first, &tls.current()));
    assert!(!keeper.look().await.unwrap());
}

#[tokio::test]
async fn a_clock_that_jumped_back_makes_a_new_one() {
    let clock = FakeClock::at(NOW);
    let (mut keeper, _tls) = Keeper::open(Box::new(own()), clock.clone()).await.unwrap();
    clock.jump_to(NOW.minus(DAY * 30));
    assert!(keeper.look().await.unwrap(), "the old one is not valid yet");
}

#[tokio::test]
async fn the_authority_is_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let own = own();
    own.write_ca(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), own.ca_pem());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let told = own.write_ca(Path::new("/nowhere/ca.pem")).unwrap_err().to_string();
    assert!(told.contains("/nowhere/ca.pem"), "{told}");
}

#[tokio::test]
async fn files_are_read_again_when_they_change() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = files(folder.path());
    let (mut keeper, tls) =
        Keeper::open(Box::new(Files::new(certificate, key.clone())), FakeClock::at(NOW)).await.unwrap();
    let first = tls.current();
    assert!(!keeper.look().await.unwrap());
    files(folder.path());
    assert!(keeper.look().await.unwrap());
    assert!(!Arc::ptr_eq(&first, &tls.current()));
    let second = tls.current();
    std::fs::write(&key, "no key").unwrap();
    assert!(keeper.look().await.is_err());
    assert!(Arc::ptr_eq(&second, &tls.current()), "the former one stays");
    files(folder.path());
    assert!(keeper.look().await.unwrap(), "and the next good one is taken");
}

#[tokio::test]
async fn half_a_change_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let (certificate, key) = files(folder.path());
    let mut source = Files::new(certificate.clone(), key.clone());
    assert!(source.renewed(NOW).await.unwrap().is_some());
    let (new_certificate, new_key) = files(other.path());
    std::fs::copy(new_certificate, certificate).unwrap();
    assert!(source.renewed(NOW).await.is_err(), "the key is the old one's");
    std::fs::copy(new_key, key).unwrap();
    assert!(source.renewed(NOW).await.unwrap().is_some());
}

#[tokio::test]
async fn files_that_are_not_there() {
    let told = Keeper::open(Box::new(Files::new("/no/tls.crt".into(), "/no/tls.key".into())), FakeClock::at(NOW))
        .await
        .err()
        .unwrap();
    assert!(told.to_string().contains("/no/tls.crt"), "{told}");
}

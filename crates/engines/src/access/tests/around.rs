use dewdrop_core::store::Store;

use super::*;

fn line(id: &str, time: &str, user: &str) -> Value {
    json!({
        "kind": "api", "around": true, "audit_id": id, "time": time, "cluster": "prod", "user": user, "verb": "get",
        "target": "secrets", "namespace": "shop", "name": "db", "source": "10.0.0.9", "code": 200, "grant": "",
    })
}

async fn heard(s: &Stage, lines: Value) -> Result<Got, Fault> {
    s.harness.write("record", json!({ "lines": lines })).await
}

#[tokio::test]
async fn what_went_around_is_listed_once_and_the_newest_first() {
    let s = Stage::new();
    assert_eq!(s.harness.list("around").await.unwrap_err().kind, Kind::NotFound);
    let (early, late) = ("2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:01.5Z");
    heard(&s, json!([line("a1", early, "admin"), line("a2", late, "eve")])).await.unwrap();
    heard(&s, json!([line("a1", early, "admin")])).await.unwrap();
    let mut joined = line("a3", late, "ann");
    joined["around"] = json!(false);
    heard(&s, json!([joined])).await.unwrap();
    let listed = s.harness.list("around").await.unwrap().data();
    assert_eq!(listed["keys"], json!(["a2", "a1"]));
    assert_eq!(listed["key_info"]["a1"]["user"], "admin");
    assert_eq!(listed["key_info"]["a1"]["code"], 200);
}

#[tokio::test]
async fn it_is_removed_when_it_is_old_and_what_has_no_name_is_refused() {
    let s = Stage::new();
    for wrong in [line("", "2026-01-01T00:00:00Z", "x"), line("a", "then", &"x".repeat(2000)), line("a/b", "t", "x")] {
        assert_eq!(heard(&s, json!([wrong])).await.unwrap_err().kind, Kind::BadRequest);
    }
    heard(&s, json!([line("a1", "2026-01-01T00:00:00Z", "admin")])).await.unwrap();
    s.later(31 * 24 * 60);
    s.harness.room.tick(&s.harness.mount, dewdrop_core::Clock::now(&*s.harness.clock)).await.unwrap();
    assert_eq!(s.harness.list("around").await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn a_flood_is_not_kept_until_the_hour_is_over() {
    let s = Stage::new();
    let of = |number: u32| line(&format!("a{number}"), &format!("2026-01-01T00:00:00.{number:06}Z"), "eve");
    for number in (0..13_000).step_by(1000) {
        heard(&s, (number..number + 1000).map(of).collect()).await.unwrap();
    }
    let kept = s.harness.store.scan(b"around/", None, 20_000).await.unwrap().len();
    assert!((10_000..12_000).contains(&kept), "{kept}");
    assert_eq!(s.harness.list("around").await.unwrap().data()["keys"][0], "a12999");
}

use super::*;

/// Field | what is set | what is then read | what is read after it was cleared | what an empty write says (nothing: 204).
const CASES: &str = r#"
policies | {"token_policies":"a,b"} | {"token_policies":["a","b"]} | {"token_policies":[]} | missing token_policies
policies | {"policies":"c"} | {"policies":["c"],"token_policies":["c"]} | {"token_policies":[]} | missing token_policies
secret-id-num-uses | {"secret_id_num_uses":3} | {"secret_id_num_uses":3} | {"secret_id_num_uses":0} | missing secret_id_num_uses
secret-id-ttl | {"secret_id_ttl":"1h"} | {"secret_id_ttl":3600} | {"secret_id_ttl":0} | missing secret_id_ttl
secret-id-bound-cidrs | {"secret_id_bound_cidrs":"10.0.0.0/8"} | {"secret_id_bound_cidrs":["10.0.0.0/8"]} | {"secret_id_bound_cidrs":null} |
bound-cidr-list | {"bound_cidr_list":"10.0.0.0/8"} | {"bound_cidr_list":["10.0.0.0/8"]} | {"bound_cidr_list":null} |
period | {"token_period":50} | {"token_period":50} | {"token_period":0} | missing period
period | {"period":"1m"} | {"period":60,"token_period":60} | {"token_period":0} | missing period
token-bound-cidrs | {"token_bound_cidrs":"10.0.0.1"} | {"token_bound_cidrs":["10.0.0.1"]} | {"token_bound_cidrs":null} |
token-max-ttl | {"token_max_ttl":"1h"} | {"token_max_ttl":3600} | {"token_max_ttl":0} | missing token_max_ttl
token-num-uses | {"token_num_uses":4} | {"token_num_uses":4} | {"token_num_uses":0} | missing token_num_uses
token-ttl | {"token_ttl":"30m"} | {"token_ttl":1800} | {"token_ttl":0} | missing token_ttl
bind-secret-id | {"bind_secret_id":true} | {"bind_secret_id":true} | {"bind_secret_id":true} | missing bind_secret_id
"#;

#[tokio::test]
async fn each_field_has_its_path() {
    for case in CASES.trim().lines() {
        let parts: Vec<&str> = case.split('|').map(str::trim).collect();
        let json = |at: usize| serde_json::from_str::<Value>(parts[at]).unwrap();
        one_field(parts[0], json(1), json(2), json(3), parts[4]).await;
    }
}

async fn one_field(field: &str, set: Value, shown: Value, cleared: Value, missing: &str) {
    let harness = with_role(json!({})).await;
    let (path, nowhere) = (format!("role/app/{field}"), format!("role/nope/{field}"));
    harness.write(&path, set.clone()).await.unwrap();
    assert_eq!(harness.read(&path).await.unwrap().data(), shown);
    let told = harness.write(&path, json!({})).await.err().map(|fault| fault.told).unwrap_or_default();
    assert_eq!(told, missing, "{field}");
    assert_eq!(harness.read(&path).await.unwrap().data(), shown, "an empty write leaves it");
    harness.delete(&path).await.unwrap();
    assert_eq!(harness.read(&path).await.unwrap().data(), cleared);
    assert_eq!(harness.read(&nowhere).await.unwrap_err().kind, Kind::NotFound);
    assert_eq!(harness.write(&nowhere, set).await.unwrap_err().kind, Kind::NotFound);
    assert!(harness.delete(&nowhere).await.is_ok());
}

#[tokio::test]
async fn a_field_path_obeys_the_rules_of_the_role() {
    let harness =
        with_role(json!({ "token_ttl": "2h", "bind_secret_id": false, "secret_id_bound_cidrs": "127.0.0.1/32" })).await;
    for (path, fields) in [
        ("token-max-ttl", json!({ "token_max_ttl": "1h" })),
        ("token-ttl", json!({ "token_ttl": -1 })),
        ("token-num-uses", json!({ "token_num_uses": -4 })),
        ("secret-id-num-uses", json!({ "secret_id_num_uses": -1 })),
        ("secret-id-bound-cidrs", json!({ "secret_id_bound_cidrs": "" })),
        ("token-bound-cidrs", json!({ "token_bound_cidrs": "q" })),
    ] {
        let before = harness.read("role/app").await.unwrap().data();
        assert_eq!(
            harness.write(&format!("role/app/{path}"), fields).await.unwrap_err().kind,
            Kind::BadRequest,
            "{path}"
        );
        assert_eq!(harness.read("role/app").await.unwrap().data(), before);
    }
    let told = harness.delete("role/app/secret-id-bound-cidrs").await.unwrap_err().told;
    assert_eq!(told, "at least one constraint should be enabled on the role");
}

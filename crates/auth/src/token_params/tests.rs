use super::*;

fn ttl(seconds: u64) -> Option<Ttl> {
    Some(Ttl(Duration::from_secs(seconds)))
}

fn list(names: &[&str]) -> Option<Strings> {
    Some(Strings(names.iter().map(|n| (*n).into()).collect()))
}

fn refusal(new: TokenFields) -> String {
    TokenSettings::default().apply(new, OldFields::default()).unwrap_err().told.into_owned()
}

#[test]
fn nothing_given_shows_as_the_oracle_does() {
    let expected = json!({
        "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 0, "token_no_default_policy": false,
        "token_num_uses": 0, "token_period": 0, "token_policies": [], "token_strictly_bind_ip": false,
        "token_ttl": 0, "token_type": "default",
    });
    assert_eq!(Value::Object(TokenSettings::default().show()), expected);
}

/// The conversation is the oracle's, on an AppRole role.
#[test]
fn old_names_are_shown_while_they_are_used() {
    let mut kept = TokenSettings::default();
    let old = OldFields { policies: list(&["x"]), period: ttl(3600), ..OldFields::default() };
    kept.apply(TokenFields { period: ttl(30), ..TokenFields::default() }, old).unwrap();
    let shown = kept.show();
    assert_eq!((&shown["period"], &shown["token_period"]), (&json!(30), &json!(30)));
    assert_eq!((&shown["policies"], &shown["token_policies"]), (&json!(["x"]), &json!(["x"])));

    kept.apply(TokenFields { policies: list(&["w"]), ..TokenFields::default() }, OldFields::default()).unwrap();
    let shown = kept.show();
    assert_eq!((shown.get("policies"), &shown["token_policies"]), (None, &json!(["w"])));
    assert_eq!(shown["period"], json!(30), "a name that is not touched stays");

    kept.apply(TokenFields { period: ttl(0), ..TokenFields::default() }, OldFields::default()).unwrap();
    assert_eq!(kept.show().get("period"), None);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let kind = |text: &str| Some(Text(text.into()));
    let none = TokenFields::default;
    assert!(refusal(TokenFields { ttl: ttl(2), max_ttl: ttl(1), ..none() }).contains("'token_ttl' cannot be greater"));
    assert!(refusal(TokenFields { kind: kind("batch"), period: ttl(1), ..none() }).contains("periodic"));
    assert!(refusal(TokenFields { kind: kind("batch"), num_uses: Some(Int(1)), ..none() }).contains("limited use"));
    assert!(refusal(TokenFields { num_uses: Some(Int(-1)), ..none() }).contains("negative"));
    assert_eq!(
        refusal(TokenFields { kind: kind("bogus"), ..none() }),
        "invalid 'token_type' value: use service, batch or default"
    );
    assert!(refusal(TokenFields { bound_cidrs: list(&["nope"]), ..none() }).starts_with("error parsing address: "));
    let many = Some(Strings(vec!["p".into(); 100_000]));
    assert!(refusal(TokenFields { policies: many, ..none() }).contains("too many"));
}

use super::*;
use serde_json::json;

fn answer(status: u16, body: Value) -> Answer {
    Answer { status, headers: vec![("content-type".into(), "application/json".into())], body: Body::Json(body) }
}

fn places(theirs: Value, ours: Value) -> Vec<String> {
    places_with(theirs, ours, &Options::default())
}

fn places_with(theirs: Value, ours: Value, options: &Options) -> Vec<String> {
    compare(&answer(200, theirs), &answer(200, ours), options).into_iter().map(|d| d.place).collect()
}

#[test]
fn equal_answers_have_no_difference() {
    let body = json!({"data": {"keys": ["a", "b"], "n": null}, "warnings": null});
    assert_eq!(places(body.clone(), body), Vec::<String>::new());
}

#[test]
fn status_headers_and_kind_of_body_count() {
    let theirs = answer(200, json!({}));
    let mut ours = Answer { status: 204, headers: Vec::new(), body: Body::Empty };
    let found: Vec<String> = compare(&theirs, &ours, &Options::default()).into_iter().map(|d| d.place).collect();
    assert_eq!(found, ["status 200 -> 204", "header content-type", "body"]);
    ours = answer(200, json!({}));
    ours.headers.push(("retry-after".into(), "1".into()));
    let found: Vec<String> = compare(&theirs, &ours, &Options::default()).into_iter().map(|d| d.place).collect();
    assert_eq!(found, ["header retry-after"]);
}

#[test]
fn keys_types_and_values_count_on_every_level() {
    assert_eq!(places(json!({"a": {"b": 1}}), json!({"a": {}})), ["body a.b"]);
    assert_eq!(places(json!({"a": {}}), json!({"a": {"b": 1}})), ["body a.b"]);
    assert_eq!(places(json!({"a": null}), json!({"a": {}})), ["body a"]);
    assert_eq!(places(json!({"a": null}), json!({"a": []})), ["body a"]);
    assert_eq!(places(json!({"a": "1"}), json!({"a": 1})), ["body a"]);
    assert_eq!(places(json!({"a": ["x", "y"]}), json!({"a": ["y", "x"]})), ["body a.0", "body a.1"]);
    assert_eq!(places(json!({"a": [1]}), json!({"a": [1, 2]})), ["body a"]);
}

#[test]
fn remaining_times_have_slack_and_other_numbers_have_none() {
    assert_eq!(places(json!({"data": {"ttl": 3600}}), json!({"data": {"ttl": 3598}})), Vec::<String>::new());
    assert_eq!(places(json!({"data": {"ttl": 3600}}), json!({"data": {"ttl": 3500}})), ["body data.ttl"]);
    assert_eq!(places(json!({"data": {"ttl": 0}}), json!({"data": {"ttl": 2}})), ["body data.ttl"]);
    assert_eq!(places(json!({"data": {"num_uses": 10}}), json!({"data": {"num_uses": 9}})), ["body data.num_uses"]);
}

#[test]
fn wording_is_noted_but_emptiness_fails() {
    assert_eq!(places(json!({"errors": ["a"]}), json!({"errors": ["b"]})), ["wording errors"]);
    assert_eq!(places(json!({"errors": []}), json!({"errors": ["b"]})), ["body errors"]);
    assert_eq!(places(json!({"warnings": ["a"]}), json!({"warnings": null})), ["body warnings"]);
    let exact = Options { exact_errors: true, ..Options::default() };
    assert_eq!(places_with(json!({"errors": ["a"]}), json!({"errors": ["b"]}), &exact), ["body errors"]);
}

#[test]
fn looser_comparisons_let_through_what_they_say() {
    let shape = Options { compare: Compare::Shape, ..Options::default() };
    assert_eq!(places_with(json!({"k": ["a", "b"]}), json!({"k": ["c"]}), &shape), Vec::<String>::new());
    assert_eq!(places_with(json!({"k": [{"a": 1}, {"b": 1}]}), json!({"k": [{"a": 1}]}), &shape), ["body k[].b"]);
    assert_eq!(places_with(json!({"k": ["a"]}), json!({"k": []}), &shape), ["body k"]);
    let top = Options { compare: Compare::Top, ..Options::default() };
    assert_eq!(places_with(json!({"k": {"a": 1}}), json!({"k": {}}), &top), Vec::<String>::new());
    assert_eq!(places_with(json!({"k": {"a": 1}}), json!({"k": []}), &top), ["body k"]);
    let unordered = Options { unordered: true, ..Options::default() };
    assert_eq!(places_with(json!({"k": ["a", "b"]}), json!({"k": ["b", "a"]}), &unordered), Vec::<String>::new());
    assert_eq!(places_with(json!({"k": ["a", "b"]}), json!({"k": ["b", "c"]}), &unordered), ["body k.0", "body k.1"]);
    let loose = Options { loose: vec!["data.x".into()], ..Options::default() };
    assert_eq!(places_with(json!({"data": {"x": "a"}}), json!({"data": {"x": "b"}}), &loose), Vec::<String>::new());
    assert_eq!(places_with(json!({"data": {"x": "a"}}), json!({"data": {"x": 1}}), &loose), ["body data.x"]);
}

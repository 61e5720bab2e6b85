//! Label selectors as Kubernetes has them, in JSON or YAML: `{"matchLabels": {...}, "matchExpressions": [...]}`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::wire::parse_yaml;

/// A selector.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    #[serde(default)]
    match_labels: BTreeMap<String, String>,
    #[serde(default)]
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expression {
    key: String,
    operator: Operator,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Reads a selector. `None`: it is none, or selects everything.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let selector: Self = serde_json::from_value(parse_yaml(text).ok()?).ok()?;
        let selects = !selector.match_labels.is_empty() || !selector.match_expressions.is_empty();
        (selects && selector.match_expressions.iter().all(Expression::is_whole)).then_some(selector)
    }

    /// Whether labels are as it says.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|expression| expression.matches(labels))
    }
}

impl Expression {
    fn is_whole(&self) -> bool {
        let wants_values = matches!(self.operator, Operator::In | Operator::NotIn);
        !self.key.is_empty() && wants_values != self.values.is_empty()
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_select() {
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned()), ("env".to_owned(), "dev".to_owned())]);
        let selects = |text: &str| Selector::parse(text).unwrap().matches(&labels);
        assert!(selects(r#"{"matchLabels":{"team":"a"}}"#));
        assert!(!selects(r#"{"matchLabels":{"team":"a","env":"prod"}}"#));
        assert!(selects("matchLabels:\n  team: a\n"));
        assert!(selects(r#"{"matchExpressions":[{"key":"env","operator":"In","values":["dev","test"]}]}"#));
        assert!(!selects(r#"{"matchExpressions":[{"key":"env","operator":"NotIn","values":["dev"]}]}"#));
        assert!(selects(
            r#"{"matchExpressions":[{"key":"no","operator":"DoesNotExist"},{"key":"env","operator":"Exists"}]}"#
        ));
    }

    #[test]
    fn what_is_no_selector_selects_nothing() {
        for bad in [
            "",
            "{}",
            "team=a",
            r#"{"matchLabels":{}}"#,
            r#"{"matchlabels":{"a":"b"}}"#,
            r#"{"matchExpressions":[{"key":"a","operator":"In"}]}"#,
            r#"{"matchExpressions":[{"key":"a","operator":"Exists","values":["x"]}]}"#,
            r#"{"matchExpressions":[{"key":"a","operator":"Near","values":["x"]}]}"#,
        ] {
            assert!(Selector::parse(bad).is_none(), "{bad}");
        }
    }
}

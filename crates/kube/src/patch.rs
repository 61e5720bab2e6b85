//! JSON Patch (RFC 6902), as far as we write it.

use serde::Serialize;
use serde_json::Value;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Op {
    op: &'static str,
    path: String,
    value: Value,
}

impl Op {
    /// Sets a field, or puts something into a list.
    #[must_use]
    pub fn add(path: impl Into<String>, value: Value) -> Self {
        Self { op: "add", path: path.into(), value }
    }

    /// Where.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }
}

/// A name as a part of a path.
#[must_use]
pub fn part(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Puts it in front of a list that may not be there yet, or behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The first.
    Front,
    /// The last.
    Back,
}

/// Adds to a list; `is_empty` says that the list may not exist.
pub fn into_list(ops: &mut Vec<Op>, list: &str, is_empty: bool, at: At, value: Value) {
    if is_empty {
        ops.push(Op::add(list, Value::Array(vec![value])));
        return;
    }
    let place = if at == At::Front { "0" } else { "-" };
    ops.push(Op::add(format!("{list}/{place}"), value));
}

#[cfg(test)]
pub mod testing {
    //! Applies what we write.

    use super::{Op, Value};

    /// As the API server does.
    pub fn apply(to: &mut Value, ops: &[Op]) {
        for op in ops {
            let (parent, last) = op.path.rsplit_once('/').unwrap();
            let last = last.replace("~1", "/").replace("~0", "~");
            match to.pointer_mut(parent).unwrap_or_else(|| panic!("{} has no parent", op.path)) {
                Value::Array(list) if last == "-" => list.push(op.value.clone()),
                Value::Array(list) => list.insert(last.parse().unwrap(), op.value.clone()),
                Value::Object(fields) => drop(fields.insert(last, op.value.clone())),
                _ => panic!("{} has a parent that holds nothing", op.path),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_with_slashes_are_parts_of_paths() {
        assert_eq!(part("dewdrop.dev/a~b"), "dewdrop.dev~1a~0b");
    }

    #[test]
    fn a_list_that_is_not_there_is_made() {
        let mut pod = json!({"l": [1]});
        let mut ops = Vec::new();
        into_list(&mut ops, "/l", false, At::Front, json!(0));
        into_list(&mut ops, "/l", false, At::Back, json!(2));
        into_list(&mut ops, "/new", true, At::Front, json!(9));
        testing::apply(&mut pod, &ops);
        assert_eq!(pod, json!({"l": [0, 1, 2], "new": [9]}));
    }
}

//! From JSON Schema 2020-12, as our types describe themselves, to the dialect of OpenAPI 3.0.2: no `$defs`, no lists of types,
//! no `null`, no boolean schemas.

use serde_json::{Map, Value, json};

/// Levels of definitions within definitions that are followed; a type that holds itself is cut there.
const DEEPEST: usize = 8;

/// A schema in OpenAPI's dialect.
pub(super) fn plain(schema: &Value) -> Value {
    let definitions = schema.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    simplify(schema, &definitions, 0)
}

fn simplify(schema: &Value, definitions: &Map<String, Value>, depth: usize) -> Value {
    let Some(object) = schema.as_object() else { return json!({}) };
    if let Some(name) = object.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/")) {
        return match definitions.get(name) {
            Some(definition) if depth < DEEPEST => {
                with_description(simplify(definition, definitions, depth + 1), object)
            }
            _ => json!({ "type": "object" }),
        };
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(options) = object.get(choice).and_then(Value::as_array) {
            let real: Vec<&Value> =
                options.iter().filter(|o| o.get("type").and_then(Value::as_str) != Some("null")).collect();
            if let [single] = real.as_slice() {
                return with_description(simplify(single, definitions, depth), object);
            }
            let options: Vec<Value> = real.iter().map(|o| simplify(o, definitions, depth)).collect();
            return with_description(json!({ choice: options }), object);
        }
    }
    let mut out = Map::new();
    for (name, value) in object {
        let kept = match name.as_str() {
            "type" => one_type(value),
            "const" => Some(("enum", json!([value]))),
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                Some(("properties", properties.map(|(n, p)| (n.clone(), simplify(p, definitions, depth))).collect()))
            }
            "items" => Some(("items", simplify(value, definitions, depth))),
            "additionalProperties" if value.is_object() => {
                Some(("additionalProperties", simplify(value, definitions, depth)))
            }
            "description"
            | "enum"
            | "required"
            | "additionalProperties"
            | "format"
            | "minimum"
            | "maximum"
            | "default" => Some((name.as_str(), value.clone())),
            _ => None,
        };
        if let Some((name, value)) = kept.filter(|(_, value)| !value.is_null()) {
            out.insert(name.to_owned(), value);
        }
    }
    if out.get("type") == Some(&json!("array")) {
        out.entry("items").or_insert_with(|| json!({}));
    }
    out.into()
}

fn one_type(value: &Value) -> Option<(&'static str, Value)> {
    match value {
        Value::Array(types) => types.iter().find(|t| t.as_str() != Some("null")).map(|t| ("type", t.clone())),
        other => Some(("type", other.clone())),
    }
}

/// What is said of a field goes before what is said of its type.
fn with_description(mut schema: Value, field: &Map<String, Value>) -> Value {
    if let (Some(schema), Some(description)) = (schema.as_object_mut(), field.get("description")) {
        schema.insert("description".into(), description.clone());
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_dialect_is_gone() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "X",
            "type": "object",
            "properties": {
                "a": { "type": ["integer", "null"], "description": "A number." },
                "b": { "anyOf": [{ "$ref": "#/$defs/B" }, { "type": "null" }], "description": "A thing." },
                "c": true,
                "d": { "type": "array", "items": { "const": 1 } },
            },
            "$defs": { "B": { "type": "object", "properties": { "self": { "$ref": "#/$defs/B" } } } },
        });
        let plain = plain(&schema);
        assert_eq!(plain["properties"]["a"], json!({ "type": "integer", "description": "A number." }));
        assert_eq!(plain["properties"]["b"]["description"], "A thing.");
        assert_eq!(plain["properties"]["c"], json!({}));
        assert_eq!(plain["properties"]["d"], json!({ "type": "array", "items": { "enum": [1] } }));
        let text = plain.to_string();
        assert!(
            !text.contains("null") && !text.contains("$ref") && !text.contains("$defs") && !text.contains("title"),
            "{text}"
        );
    }
}

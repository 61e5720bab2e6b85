//! Names that become parts of keys: each is read as what it must be before it gets there.

use dewdrop_core::Fault;

/// Reads the name of a container: a DNS label.
///
/// # Errors
/// 400.
pub fn container(text: &str) -> Result<String, Fault> {
    let fits = (1..=63).contains(&text.len()) && is_label(text);
    fits.then(|| text.to_owned()).ok_or_else(|| Fault::bad_request("container is no name of a container"))
}

/// Reads the name of a node: a DNS subdomain.
///
/// # Errors
/// 400.
pub fn node(text: &str) -> Result<String, Fault> {
    let fits = (1..=253).contains(&text.len()) && text.split('.').all(is_label);
    fits.then(|| text.to_owned()).ok_or_else(|| Fault::bad_request("this is no name of a node"))
}

/// Reads the uid of a pod, or the id of a start: a UUID. Lower-cased.
///
/// # Errors
/// 400 that names the field.
pub fn uuid(field: &str, text: &str) -> Result<String, Fault> {
    let id = uuid::Uuid::try_parse(text).ok().filter(|_| text.len() == 36 || text.len() == 32);
    id.map(|id| id.hyphenated().to_string()).ok_or_else(|| Fault::bad_request(format!("{field} is no UUID")))
}

/// Reads the runtime's id of a container: `containerd://0123abcd` or without the runtime.
///
/// # Errors
/// 400.
pub fn container_id(text: &str) -> Result<String, Fault> {
    let fits = text.len() <= 256 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:/".contains(c));
    fits.then(|| text.to_owned()).ok_or_else(|| Fault::bad_request("container_id is no id of a container"))
}

fn is_label(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_word) && text.ends_with(is_word) && text.chars().all(|c| is_word(c) || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_become_keys() {
        assert_eq!(container("app-1").unwrap(), "app-1");
        for bad in ["", "a/b", "..", "App", "a.b", "-a", "a-", "a b", "ä", "a\0", &"x".repeat(64)] {
            assert!(container(bad).is_err(), "{bad:?}");
        }
        assert_eq!(node("node-1.example").unwrap(), "node-1.example");
        for bad in ["", "a/b", "..", "a..b", ".a", "N1", "a_b", &"x".repeat(254)] {
            assert!(node(bad).is_err(), "{bad:?}");
        }
        let id = "3F2504E0-4F89-41D3-9A0C-0305E82C3301";
        assert_eq!(uuid("start", id).unwrap(), id.to_lowercase());
        for bad in ["", "x", "3f2504e0-4f89-41d3-9a0c-0305e82c330", "../../../../../../../../../../../../.."] {
            assert!(uuid("start", bad).is_err(), "{bad:?}");
        }
        assert!(uuid("pod_uid", "{3f2504e0-4f89-41d3-9a0c-0305e82c3301}").is_err());
        assert!(container_id("containerd://0123abcd").is_ok());
        assert!(container_id("a b").is_err());
        assert!(container_id(&"x".repeat(257)).is_err());
    }
}

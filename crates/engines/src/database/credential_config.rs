//! `credential_config` of roles: what means something for each kind of credential is checked and kept; the rest is dropped,
//! as the API has it.

use dewdrop_core::wire::Pairs;
use serde_json::{Map, Value, json};

use super::certificate;
use super::role::CredentialType;

/// What is kept of a configuration.
///
/// # Errors
/// A sentence that names the field.
pub(super) fn of(kind: CredentialType, mut given: Pairs) -> Result<Pairs, String> {
    let known: &[&str] = match kind {
        CredentialType::Password => &["password_policy"],
        CredentialType::ClientCertificate => {
            &["ca_cert", "ca_private_key", "common_name_template", "key_bits", "key_type", "signature_bits"]
        }
        CredentialType::RsaPrivateKey => &["format", "key_bits"],
    };
    given.0.retain(|name, value| known.contains(&name.as_str()) && !value.is_empty());
    match kind {
        CredentialType::Password => {}
        CredentialType::ClientCertificate => certificate::check(&given)?,
        CredentialType::RsaPrivateKey => check_rsa(&mut given)?,
    }
    Ok(given)
}

/// As the API shows it: numbers as numbers, the authority's key not at all.
pub(super) fn shown(config: &Pairs) -> Map<String, Value> {
    let fields = config.0.iter().filter(|(name, _)| *name != "ca_private_key");
    let shown = fields.map(|(name, text)| {
        let number = text.parse::<u32>().ok().filter(|_| name.ends_with("_bits"));
        (name.clone(), number.map_or_else(|| json!(text), Value::from))
    });
    shown.collect()
}

fn check_rsa(config: &mut Pairs) -> Result<(), String> {
    let bits = config.0.entry("key_bits".into()).or_insert_with(|| "2048".into());
    if !["2048", "3072", "4096"].contains(&bits.as_str()) {
        return Err(format!("invalid key_bits: {bits}; rsa keys have 2048, 3072 or 4096"));
    }
    let format = config.0.entry("format".into()).or_insert_with(|| "pkcs8".into());
    if format != "pkcs8" {
        return Err(format!("invalid format: {format}; keys are given as pkcs8"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(fields: &[(&str, &str)]) -> Pairs {
        Pairs(fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn each_kind_keeps_what_it_knows() {
        let given = pairs(&[("password_policy", "p"), ("unknown", "x"), ("key_bits", "3072")]);
        let of = |kind| of(kind, given.clone()).map(|kept| Value::from(shown(&kept)));
        assert_eq!(of(CredentialType::Password).unwrap(), json!({ "password_policy": "p" }));
        assert_eq!(of(CredentialType::RsaPrivateKey).unwrap(), json!({ "format": "pkcs8", "key_bits": 3072 }));
        assert!(of(CredentialType::ClientCertificate).unwrap_err().contains("key_type"));
    }

    #[test]
    fn keys_of_other_forms_are_refused() {
        for bad in [("key_bits", "5"), ("key_bits", "x"), ("format", "odd")] {
            assert!(of(CredentialType::RsaPrivateKey, pairs(&[bad])).unwrap_err().contains(bad.0));
        }
    }
}

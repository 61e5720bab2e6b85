//! What a certificate says. It is read whole or not at all, and nothing in it is believed before its chain is verified.

use x509_parser::asn1_rs::{Any, FromDer, Tag};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::X509Certificate;

/// What is read of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Names of its subject.
    pub names: Names,
    /// All extensions: the OID in numbers, and the value in DER.
    pub extensions: Vec<(String, Vec<u8>)>,
    /// The serial number, without zeros in front.
    pub serial: Vec<u8>,
    /// The same in decimal.
    pub serial_text: String,
    /// Id of its key; empty: none is said.
    pub subject_key: Vec<u8>,
    /// Id of its authority's key; empty: none is said.
    pub authority_key: Vec<u8>,
    /// From when to when it is good, in seconds since 1970.
    pub validity: (i64, i64),
    /// Its extended key usage, if it says one, allows clients of TLS.
    pub is_for_clients: bool,
    /// What it may be as an authority; `None`: it is none.
    pub authority: Option<Authority>,
    /// Its subject in DER.
    pub subject: Vec<u8>,
    /// Its authority's subject in DER.
    pub issuer: Vec<u8>,
}

/// Names of a subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The last common name: the closest one to the subject. Empty: there is none.
    pub common: String,
    /// Organizational units.
    pub units: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// E-mail addresses.
    pub emails: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
}

/// What a certificate may be as an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority {
    /// Its key may sign certificates.
    pub signs: bool,
    /// How many authorities may stand below it; `None`: any number.
    pub below: Option<u32>,
}

impl Facts {
    /// Reads a certificate.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let (rest, x509) = X509Certificate::from_der(der).map_err(|_| "it is no X.509 certificate")?;
        if !rest.is_empty() {
            return Err("something stands behind the certificate".into());
        }
        x509.extensions_map().map_err(|_| "an extension stands in it twice")?;
        let odd = |_| "an extension of it cannot be read".to_owned();
        let purpose = x509.extended_key_usage().map_err(odd)?;
        let usage = x509.key_usage().map_err(odd)?;
        let basic = x509.basic_constraints().map_err(odd)?.filter(|basic| basic.value.ca);
        let (subject_key, authority_key) = key_ids(&x509);
        Ok(Self {
            names: names(&x509)?,
            extensions: x509
                .iter_extensions()
                .map(|extension| (extension.oid.to_id_string(), extension.value.to_vec()))
                .collect(),
            serial: stripped(x509.raw_serial()).to_vec(),
            serial_text: x509.tbs_certificate.serial.to_string(),
            subject_key,
            authority_key,
            validity: (x509.validity().not_before.timestamp(), x509.validity().not_after.timestamp()),
            is_for_clients: purpose.is_none_or(|purpose| purpose.value.any || purpose.value.client_auth),
            authority: basic.map(|basic| Authority {
                signs: usage.is_none_or(|usage| usage.value.key_cert_sign()),
                below: basic.value.path_len_constraint,
            }),
            subject: x509.subject().as_raw().to_vec(),
            issuer: x509.issuer().as_raw().to_vec(),
        })
    }

    /// The text of an extension; empty where its value is no text. `None`: there is no such extension.
    pub fn extension_text(&self, oid: &str) -> Option<String> {
        self.extension(oid).map(|value| text_of(value).unwrap_or_default())
    }

    /// The value of an extension in DER.
    pub fn extension(&self, oid: &str) -> Option<&[u8]> {
        self.extensions.iter().find(|(known, _)| known == oid).map(|(_, value)| value.as_slice())
    }

    /// Whether it is good at a time.
    ///
    /// # Errors
    /// Why not.
    pub fn is_valid_at(&self, seconds: u64) -> Result<(), &'static str> {
        let now = i64::try_from(seconds).unwrap_or(i64::MAX);
        match self.validity {
            (begin, _) if now < begin => Err("is not valid yet"),
            (_, end) if now > end => Err("has expired"),
            _ => Ok(()),
        }
    }
}

/// A serial number as it is compared: without zeros in front.
pub fn stripped(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial.get(zeros..).unwrap_or_default()
}

fn key_ids(x509: &X509Certificate<'_>) -> (Vec<u8>, Vec<u8>) {
    let (mut subject, mut authority) = (Vec::new(), Vec::new());
    for extension in x509.iter_extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => subject = id.0.to_vec(),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                authority = id.key_identifier.as_ref().map(|id| id.0.to_vec()).unwrap_or_default();
            }
            _ => {}
        }
    }
    (subject, authority)
}

fn names(x509: &X509Certificate<'_>) -> Result<Names, String> {
    let subject = x509.subject();
    let common = subject.iter_common_name().last();
    let mut names = Names {
        common: common.and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned(),
        units: subject.iter_organizational_unit().filter_map(|unit| unit.as_str().ok().map(str::to_owned)).collect(),
        ..Names::default()
    };
    let others = x509.subject_alternative_name().map_err(|_| "its alternative names cannot be read")?;
    for name in others.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => names.emails.push((*name).to_owned()),
            GeneralName::URI(name) => names.uris.push((*name).to_owned()),
            GeneralName::Invalid(..) => return Err("one of its alternative names cannot be read".into()),
            _ => {}
        }
    }
    Ok(names)
}

/// The text that an extension's value is; `None`: it is something else.
fn text_of(der: &[u8]) -> Option<String> {
    let (rest, any) = Any::from_der(der).ok()?;
    let is_text = [Tag::Utf8String, Tag::PrintableString, Tag::Ia5String, Tag::NumericString].contains(&any.tag());
    if !rest.is_empty() || !is_text {
        return None;
    }
    std::str::from_utf8(any.data).ok().map(str::to_owned)
}

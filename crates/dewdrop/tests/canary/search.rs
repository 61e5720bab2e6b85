//! Secrets, and every form in which a program might write them.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use crate::common::http::Answer;

/// Length of the piece by which a form is looked up.
const HEAD: usize = 8;

/// The secrets that must be nowhere.
#[derive(Default)]
pub struct Search {
    forms: HashMap<[u8; HEAD], Vec<(Vec<u8>, String)>>,
    /// Cheap first test: bits of the heads.
    filter: Vec<bool>,
    refusals: Vec<(String, Vec<u8>)>,
    made: u32,
}

impl Search {
    /// Without any.
    pub fn new() -> Self {
        Self { filter: vec![false; 1 << 16], ..Self::default() }
    }

    /// A new secret with characters that every encoding writes differently.
    pub fn canary(&mut self, what: &str) -> String {
        self.made += 1;
        let mut random = [0u8; 12];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut random).unwrap();
        let core: String = random.iter().map(|b| char::from(b'a' + b % 26)).collect();
        let secret = format!("C4n4ry{}\"{core}/+&\\=\u{e9}{core}", self.made);
        self.add(what, &secret);
        // The plain piece within is found even where the rest is written in a way that nobody thought of.
        self.add(what, &core);
        secret
    }

    /// The same of letters alone, for where others may not stand.
    pub fn plain_canary(&mut self, what: &str) -> String {
        let secret: String = self.canary(what).chars().filter(char::is_ascii_alphanumeric).collect();
        self.add(what, &secret);
        secret
    }

    /// A secret that the server made.
    pub fn add(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= HEAD, "{what} is too short to be searched for: {secret:?}");
        let bytes = secret.as_bytes();
        let json = serde_json::Value::from(secret).to_string();
        let percent = |keep: &dyn Fn(u8) -> bool, lower: bool| -> String {
            let one = |b: &u8| match (keep(*b), lower) {
                (true, _) => char::from(*b).to_string(),
                (false, false) => format!("%{b:02X}"),
                (false, true) => format!("%{b:02x}"),
            };
            bytes.iter().map(one).collect()
        };
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let mut forms = vec![
            secret.to_owned(),
            json.trim_matches('"').to_owned(),
            format!("{secret:?}").trim_matches('"').to_owned(),
            percent(&unreserved, false),
            percent(&unreserved, true),
            percent(&|_| false, false),
            bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", "),
            bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(","),
            hex.to_uppercase(),
            hex,
        ];
        // Within longer text base64 begins at one of three places; the pieces at both ends depend on the neighbours.
        for skip in 0..3 {
            let whole = &bytes[skip..skip + (bytes.len() - skip) / 3 * 3];
            forms.push(STANDARD.encode(whole));
            forms.push(URL_SAFE.encode(whole));
        }
        for form in forms {
            self.add_form(what, form.into_bytes());
        }
    }

    fn add_form(&mut self, what: &str, form: Vec<u8>) {
        let Some(head) = form.first_chunk::<HEAD>().copied() else { return };
        self.filter[spot(&head)] = true;
        let same = self.forms.entry(head).or_default();
        if !same.iter().any(|(known, _)| *known == form) {
            same.push((form, what.to_owned()));
        }
    }

    /// Which secret the bytes hold.
    pub fn find(&self, bytes: &[u8]) -> Option<(&str, usize)> {
        for at in 0..bytes.len().saturating_sub(HEAD - 1) {
            let head = bytes[at..].first_chunk::<HEAD>()?;
            if !self.filter[spot(head)] {
                continue;
            }
            let found =
                self.forms.get(head).and_then(|forms| forms.iter().find(|(form, _)| bytes[at..].starts_with(form)));
            if let Some((_, what)) = found {
                return Some((what, at));
            }
        }
        None
    }

    /// Fails when the bytes hold a secret, and shows where.
    pub fn assert_clean(&self, place: &str, bytes: &[u8]) {
        if let Some((what, at)) = self.find(bytes) {
            let around = &bytes[at.saturating_sub(200)..(at + 60).min(bytes.len())];
            panic!("{place} holds {what}, at byte {at}: ...{}...", String::from_utf8_lossy(around));
        }
    }

    /// Keeps a refusal, whose text must not hold any secret.
    pub fn refused(&mut self, what: &str, answer: &Answer) {
        assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
        self.keep(what, answer);
    }

    /// Keeps an answer, whose text must not hold any secret.
    pub fn keep(&mut self, what: &str, answer: &Answer) {
        self.keep_text(&format!("the answer to {what}"), answer.whole.clone());
    }

    /// Keeps a text that must not hold any secret.
    pub fn keep_text(&mut self, place: &str, text: Vec<u8>) {
        self.refusals.push((place.to_owned(), text));
    }

    /// All refusals that were kept.
    pub fn refusals(&self) -> Vec<(String, Vec<u8>)> {
        self.refusals.clone()
    }
}

fn spot(head: &[u8; HEAD]) -> usize {
    let number = u64::from_le_bytes(*head).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(number >> 48).unwrap()
}

//! What reads texts from outside, one function for each parser: the fuzzer and the ordinary tests both call these. They
//! fail by panicking.

use dewdrop_core::Moment;
use dewdrop_core::fuzzing::Target;

use crate::database::cron::Schedule;
use crate::database::username::{Inputs, Template};
#[cfg(feature = "webauthn")]
use crate::identity::mfa::webauthn::ceremony::fuzzing as passkeys;
use crate::postgres::conn_string::{hide_password, read};
use crate::postgres::{Settings, fill};

/// By the name of its corpus.
pub const TARGETS: &[Target] = &[
    ("postgres-url", postgres_url),
    ("username-template", username_template),
    ("cron", cron),
    ("statement", statement),
    #[cfg(feature = "webauthn")]
    ("webauthn-registration", passkeys::registration),
    #[cfg(feature = "webauthn")]
    ("webauthn-assertion", passkeys::assertion),
];

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn postgres_url(bytes: &[u8]) {
    let url = text(bytes);
    let settings = Settings {
        url,
        username: "user",
        password: "p@ss:word",
        disable_escaping: false,
        tls_ca: "",
        tls_certificate: "",
        private_key: "",
        max_open: 1,
        database: None,
    };
    let _ = read(&settings);
    let (hidden, _) = hide_password(url);
    assert_eq!(hide_password(&hidden).0, hidden, "what is hidden stays as it is");
}

fn username_template(bytes: &[u8]) {
    let Ok(template) = Template::parse(text(bytes)) else { return };
    let mut fixed = |buffer: &mut [u8]| buffer.fill(9);
    let inputs = Inputs { display_name: "é'; drop", role_name: "r", now: Moment(1), random: &mut fixed };
    if let Ok(name) = template.fill(inputs) {
        assert!(!name.chars().any(char::is_control), "a control character in a name");
    }
}

fn cron(bytes: &[u8]) {
    let Ok(schedule) = Schedule::parse(text(bytes)) else { return };
    for from in [0, 1_709_164_799_999, 4_102_444_800_000] {
        let next = schedule.after(Moment(from));
        assert!(next.is_some_and(|next| next > Moment(from)), "the next time lies ahead");
    }
}

fn statement(bytes: &[u8]) {
    let values = fill::Values { username: "o'n", password: "p'w\\", expiration: "2027-01-01" };
    let _ = fill::fill(text(bytes), values);
    let _ = fill::takes_verifier(text(bytes));
}

#[cfg(test)]
#[test]
fn this_crate_reads_anything() {
    dewdrop_testkit::fuzz::replay(TARGETS);
}

//! What is told of a second factor that is needed, or was not passed.

use std::collections::BTreeMap;

use dewdrop_core::Fault;
use dewdrop_engines::identity::{MfaDemand, MfaKind, MfaMethod, MfaRefusal};
use serde::Serialize;

/// What must be passed, and the request that it is for.
#[derive(Debug, Serialize)]
pub struct Requirement {
    mfa_request_id: String,
    /// By enforcement; all of them.
    mfa_constraints: BTreeMap<String, Constraint>,
}

#[derive(Debug, Serialize)]
struct Constraint {
    any: Vec<Method>,
}

#[derive(Debug, Serialize)]
struct Method {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    uses_passcode: bool,
    name: String,
}

/// `auth` of the answer to a login that waits: the form of a token without one.
#[derive(Debug, Serialize)]
pub struct WaitView {
    client_token: &'static str,
    accessor: &'static str,
    policies: Option<()>,
    metadata: Option<()>,
    lease_duration: u64,
    renewable: bool,
    entity_id: &'static str,
    token_type: &'static str,
    orphan: bool,
    mfa_requirement: Requirement,
    num_uses: u64,
}

impl Requirement {
    /// Of a request.
    #[must_use]
    pub fn new(id: String, demands: &[MfaDemand]) -> Self {
        let method = |method: &MfaMethod| Method {
            kind: match method.kind {
                MfaKind::Totp => "totp",
                MfaKind::Webauthn => "webauthn",
            },
            id: method.id.clone(),
            uses_passcode: method.kind == MfaKind::Totp,
            name: method.name.clone(),
        };
        let constraint =
            |demand: &MfaDemand| (demand.name.clone(), Constraint { any: demand.methods.iter().map(method).collect() });
        Self { mfa_request_id: id, mfa_constraints: demands.iter().map(constraint).collect() }
    }
}

impl WaitView {
    /// With what must be passed.
    #[must_use]
    pub fn new(mfa_requirement: Requirement) -> Self {
        Self {
            client_token: "",
            accessor: "",
            policies: None,
            metadata: None,
            lease_duration: 0,
            renewable: false,
            entity_id: "",
            token_type: "default",
            orphan: false,
            mfa_requirement,
            num_uses: 0,
        }
    }
}

/// 403: no code came for any method of a demand.
pub(super) fn no_code(demand: &MfaDemand) -> Fault {
    let method = |method: &MfaMethod| format!("an MFA method ID {}, method name {}", method.id, method.name);
    let methods: Vec<String> = demand.methods.iter().map(method).collect();
    Fault::denied_saying(format!(
        "failed to satisfy enforcement {}. error: failed to sanitize MFA creds, 1 error occurred:\n\t* failed to find MFA \
         credentials associated with {}\n\n",
        demand.name,
        methods.join(", or ")
    ))
}

/// 403: a code was not taken.
pub(super) fn refused(demand: &MfaDemand, method: &MfaMethod, why: &MfaRefusal) -> Fault {
    let why = match why {
        MfaRefusal::Wrong => "MFA credentials not supplied or incorrect".to_owned(),
        MfaRefusal::Key(why) => (*why).to_owned(),
        MfaRefusal::NotEnrolled => format!("MFA secret for method ID {:?} not present in entity", method.id),
        MfaRefusal::Locked(wait) => format!(
            "maximum TOTP validation attempts exceeded the allowed attempts. Please try again in {} seconds",
            wait.as_secs().max(1)
        ),
    };
    Fault::denied_saying(format!(
        "failed to satisfy enforcement {}. error: 2 errors occurred:\n\t* {why}\n\t* login MFA validation failed for methodID: \
         [{}]\n\n",
        demand.name, method.id
    ))
}

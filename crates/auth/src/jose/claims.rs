//! Claims, and what is demanded of them.

use std::time::Duration;

use dewdrop_core::Moment;
use serde_json::{Map, Value};

use super::Refused;

/// The claims of a token.
#[derive(Clone)]
pub struct Claims(pub Map<String, Value>);

impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Claims({})", self.0.keys().cloned().collect::<Vec<_>>().join(", "))
    }
}

/// What is demanded of the registered claims.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// The issuer; `None`: any.
    pub issuer: Option<String>,
    /// One of these must be among the token's audiences; empty: any.
    pub audiences: Vec<String>,
    /// The subject; `None`: any.
    pub subject: Option<String>,
    /// How much clocks may differ.
    pub skew: Duration,
    /// What a token is that does not say from when until when it is good.
    pub gaps: Gaps,
}

/// Tokens that do not say all of their times.
#[derive(Debug, Clone, Copy, Default)]
pub enum Gaps {
    /// Refused, unless they say their end.
    #[default]
    Refuse,
    /// Good at any time: somebody else judges that.
    Allow,
    /// A token without an end ends so long after its beginning, one without a beginning begins so long before its end.
    Fill {
        /// Life without an end.
        end: Duration,
        /// Life without a beginning.
        begin: Duration,
    },
}

impl Claims {
    /// The text of a claim; `None` when there is none, or it is no text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// The audiences: the API has one text or a list.
    pub fn audiences(&self) -> Vec<&str> {
        match self.0.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Checks times, issuer, subject and audience.
    ///
    /// # Errors
    /// [`Refused::Claim`] with the first that is not right.
    pub fn check(&self, expected: &Expected, now: Moment) -> Result<(), Refused> {
        self.check_times(expected, now)?;
        let wrong = |what: &str| Err(Refused::Claim(what.into()));
        if expected.issuer.as_deref().is_some_and(|issuer| self.text("iss") != Some(issuer)) {
            return wrong("invalid issuer (iss) claim");
        }
        if expected.subject.as_deref().is_some_and(|subject| self.text("sub") != Some(subject)) {
            return wrong("invalid subject (sub) claim");
        }
        let given = self.audiences();
        if !expected.audiences.is_empty() && !expected.audiences.iter().any(|one| given.contains(&one.as_str())) {
            return wrong("invalid audience (aud) claim: audience claim does not match any expected audience");
        }
        Ok(())
    }

    fn check_times(&self, expected: &Expected, now: Moment) -> Result<(), Refused> {
        let wrong = |what: &str| Err(Refused::Claim(what.into()));
        let (mut ends, mut begins, made) = (self.time("exp")?, self.time("nbf")?, self.time("iat")?);
        match expected.gaps {
            Gaps::Refuse if ends.is_none() => {
                return wrong("no expiration time (exp) claim: the token would never end");
            }
            Gaps::Fill { .. } if ends.is_none() && begins.is_none() && made.is_none() => {
                return wrong("no issued at (iat), not before (nbf), or expiration time (exp) claims in token");
            }
            Gaps::Fill { end, begin } => {
                ends = ends.or_else(|| begins.max(made).map(|start| start.plus(end)));
                begins = begins.or(made).or_else(|| ends.map(|end| end.minus(begin)));
            }
            Gaps::Refuse | Gaps::Allow => {}
        }
        if ends.is_some_and(|ends| now > ends.plus(expected.skew)) {
            return wrong("invalid expiration time (exp) claim: token is expired");
        }
        if begins.is_some_and(|begins| begins > now.plus(expected.skew)) {
            return wrong("invalid not before (nbf) claim: token not yet valid");
        }
        if made.is_some_and(|made| made > now.plus(expected.skew)) {
            return wrong("invalid issued at (iat) claim: token issued in the future");
        }
        Ok(())
    }

    /// A time claim: seconds since 1970, whole or not.
    fn time(&self, name: &str) -> Result<Option<Moment>, Refused> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let millis = match value.as_u64() {
            Some(seconds) => seconds.checked_mul(1000),
            None => value.as_f64().and_then(millis),
        };
        let moment = millis.ok_or_else(|| Refused::Claim(format!("the claim {name} is no time")))?;
        Ok(Some(Moment(moment)))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
fn millis(seconds: f64) -> Option<u64> {
    (0.0..1e12).contains(&seconds).then_some((seconds * 1000.0) as u64)
}

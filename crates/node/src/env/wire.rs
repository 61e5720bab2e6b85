//! The protocol between wrapper and agent (docs/decisions/0018): one line of JSON each way.

use std::collections::BTreeMap;

use dewdrop_api::SecretText;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

/// Of the protocol.
pub const VERSION: u32 = 1;
/// The longest question.
pub const MOST: u64 = 4096;

/// What a wrapper asks.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Ask {
    /// Of the protocol.
    pub v: u32,
    /// Whether it wants to know what the image starts.
    #[serde(default)]
    pub image: bool,
}

/// What it is told.
#[derive(Debug)]
pub enum Answer {
    /// The credential is there.
    Given {
        /// Variables for the command.
        variables: Vec<Variable>,
        /// What the image starts, if that was asked.
        image: Option<Starts>,
    },
    /// Ask again.
    Wait(String),
    /// Never.
    Refused,
}

/// A variable of the environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(serialize_with = "open")]
    pub value: SecretText,
}

/// What an image starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Starts {
    /// The program.
    pub entrypoint: Vec<String>,
    /// Its arguments, unless the pod gives others.
    pub cmd: Vec<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    refused: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    cmd: &'a [String],
}

// === impl Answer ===

impl Answer {
    /// The line.
    #[must_use]
    pub fn line(&self) -> Zeroizing<Vec<u8>> {
        let mut line = Line { v: VERSION, wait: None, refused: false, env: BTreeMap::new(), entrypoint: &[], cmd: &[] };
        match self {
            Self::Given { variables, image } => {
                line.env = variables.iter().map(|one| (one.name.as_str(), one.value.expose())).collect();
                if let Some(image) = image {
                    (line.entrypoint, line.cmd) = (&image.entrypoint, &image.cmd);
                }
            }
            Self::Wait(why) => line.wait = Some(why),
            Self::Refused => line.refused = true,
        }
        // Room for all from the beginning: a buffer that grows leaves copies behind.
        let length = line.env.iter().map(|(name, value)| name.len() + 6 * value.len() + 8).sum::<usize>();
        let mut bytes = Zeroizing::new(Vec::with_capacity(length + 4096));
        // Texts can always be written as JSON; if not, an empty line is no answer, and the wrapper asks again.
        if serde_json::to_writer(&mut *bytes, &line).is_err() {
            bytes.clear();
        }
        bytes.push(b'\n');
        bytes
    }
}

/// For the journal, which lies in memory, and nowhere else.
fn open<S: Serializer>(value: &SecretText, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(value.expose())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(answer: &Answer) -> String {
        String::from_utf8(answer.line().to_vec()).unwrap()
    }

    fn given() -> Answer {
        let variables = vec![Variable { name: "DB_PASSWORD".into(), value: "a\"b\n".into() }];
        Answer::Given { variables, image: Some(Starts { entrypoint: vec!["/app".into()], cmd: vec!["x".into()] }) }
    }

    #[test]
    fn every_answer_is_one_line() {
        let full = r#"{"v":1,"env":{"DB_PASSWORD":"a\"b\n"},"entrypoint":["/app"],"cmd":["x"]}"#;
        assert_eq!(line(&given()), format!("{full}\n"));
        assert_eq!(line(&Answer::Given { variables: vec![], image: None }), "{\"v\":1}\n");
        assert_eq!(line(&Answer::Wait("soon".into())), "{\"v\":1,\"wait\":\"soon\"}\n");
        assert_eq!(line(&Answer::Refused), "{\"v\":1,\"refused\":true}\n", "it names nothing");
    }

    #[test]
    fn what_a_wrapper_may_ask() {
        let ask = |text: &str| serde_json::from_str::<Ask>(text).ok();
        assert_eq!(ask(r#"{"v":1}"#), Some(Ask { v: 1, image: false }));
        assert_eq!(ask(r#"{"v":1,"image":true,"later":[1]}"#), Some(Ask { v: 1, image: true }));
        assert_eq!(ask("{}"), None);
    }

    #[test]
    fn values_are_not_in_debug() {
        assert!(!format!("{:?}", given()).contains("a\\\"b"));
    }
}

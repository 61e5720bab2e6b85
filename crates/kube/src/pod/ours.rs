//! Which volumes of a pod are ours, and whose they are.

use super::{Csi, Pod, Volume};

/// The driver of our volumes.
pub const DRIVER: &str = "csi.dewdrop.dev";

/// A volume of ours.
#[derive(Debug, Clone, Copy)]
pub enum Owned<'a> {
    /// One that the node agent fills.
    Csi {
        /// The volume's name.
        volume: &'a str,
        /// What it says.
        csi: &'a Csi,
    },
    /// A token for one container, with which the wrapper signs in where there is no agent.
    Token {
        /// The volume's name.
        volume: &'a str,
        /// Whom the token is for: `dewdrop://NAMESPACE/CONTAINER`.
        audience: &'a str,
        /// What is left of the volume beside this token: other sources.
        others: usize,
    },
}

// === impl Owned ===

impl<'a> Owned<'a> {
    /// The volume's name.
    #[must_use]
    pub fn volume(&self) -> &'a str {
        match self {
            Self::Csi { volume, .. } | Self::Token { volume, .. } => volume,
        }
    }

    /// The container whose it is; empty when it does not say.
    #[must_use]
    pub fn container(&self) -> &'a str {
        match self {
            Self::Csi { csi, .. } => csi.attribute("container"),
            Self::Token { audience, .. } => audience.rsplit('/').next().unwrap_or(""),
        }
    }

    fn of(volume: &'a Volume, audience: &str) -> Vec<Self> {
        let name = volume.name.as_str();
        let csi = volume.csi.as_ref().filter(|csi| csi.driver == DRIVER);
        let csi = csi.map(|csi| Self::Csi { volume: name, csi });
        let sources = volume.projected.as_ref().map_or(&[][..], |p| &p.sources);
        let tokens = sources.iter().filter_map(|source| source.service_account_token.as_ref());
        let ours = tokens.filter(|token| is_of_container(&token.audience, audience));
        let ours = ours.map(|token| Self::Token { volume: name, audience: &token.audience, others: sources.len() - 1 });
        csi.into_iter().chain(ours).collect()
    }
}

// === impl Csi ===

impl Csi {
    /// An attribute, trimmed as the agent reads it; empty when it is not there.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.volume_attributes.get(name).map_or("", |text| text.trim())
    }

    /// Whether the container is to be started by the wrapper: `variables` is a way to say `env`.
    #[must_use]
    pub fn wants_wrapper(&self) -> bool {
        self.volume_attributes.contains_key("variables")
            || ["env", "gate"].iter().any(|name| self.attribute(name) == "true")
    }
}

// === impl Pod ===

impl Pod {
    /// The volumes of ours. `audience` is the server's (`dewdrop`).
    #[must_use]
    pub fn owned(&self, audience: &str) -> Vec<Owned<'_>> {
        self.spec.volumes.iter().flat_map(|volume| Owned::of(volume, audience)).collect()
    }
}

/// The audience of one container.
#[must_use]
pub fn audience_of(audience: &str, namespace: &str, container: &str) -> String {
    format!("{audience}://{namespace}/{container}")
}

fn is_of_container(text: &str, audience: &str) -> bool {
    text.strip_prefix(audience).is_some_and(|rest| rest.starts_with("://"))
}

//! From attributes to a [`VolumeSpec`].

use std::collections::BTreeMap;

use dewdrop_api::credentials::cut;
use rustix::process::Signal;

use super::{Credential, Form, Layout, PodInfo, VolumeSpec, is_file_name};

/// Kubelet's own attributes begin so.
const KUBELET: &str = "csi.storage.k8s.io/";
/// Those of a pod's author.
const KNOWN: &[&str] = &[
    "container",
    "credentials",
    "env",
    "file",
    "format",
    "gate",
    "gid",
    "mode",
    "namespace",
    "role",
    "signal",
    "template",
    "uid",
    "variables",
];
/// The longest template.
const LONGEST: usize = 64 * 1024;
const DEFAULT_MODE: u32 = 0o400;

/// All that is wrong with a volume's attributes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("volumeAttributes: {}", .0.join("; "))]
pub struct SpecError(pub Vec<String>);

/// Collects what is wrong.
pub(super) struct Reader<'a> {
    pub(super) attributes: &'a BTreeMap<String, String>,
    pub(super) wrong: Vec<String>,
}

impl VolumeSpec {
    /// Reads the attributes of a volume. Those of kubelet are left aside.
    ///
    /// # Errors
    /// Every mistake that they hold.
    pub fn parse(attributes: &BTreeMap<String, String>) -> Result<Self, SpecError> {
        let own = attributes.iter().filter(|(name, _)| !name.starts_with(KUBELET));
        let attributes: BTreeMap<String, String> = own.map(|(k, v)| (k.clone(), v.clone())).collect();
        let mut reader = Reader { attributes: &attributes, wrong: Vec::new() };
        reader.unknown();
        let credentials = reader.credentials();
        let layout = reader.layout(&credentials);
        let wrap = reader.wrap(&credentials);
        let spec = Self {
            container: reader.needed("container", "the name of the container whose volume this is"),
            role: reader.needed("role", "the role of the Kubernetes auth method"),
            credentials,
            layout,
            mode: reader.mode(),
            uid: reader.id("uid").unwrap_or(0),
            gid: reader.id("gid"),
            signal: reader.signal(),
            namespace: reader.text("namespace").trim_matches('/').to_owned(),
            wrap,
            attributes: BTreeMap::new(),
        };
        let wrong = std::mem::take(&mut reader.wrong);
        if wrong.is_empty() { Ok(Self { attributes, ..spec }) } else { Err(SpecError(wrong)) }
    }
}

impl PodInfo {
    /// Reads what kubelet tells of the pod (`podInfoOnMount: true` of the CSIDriver).
    ///
    /// # Errors
    /// Kubelet does not tell, or the volume is not an inline one.
    pub fn parse(attributes: &BTreeMap<String, String>) -> Result<Self, SpecError> {
        let of = |name: &str| attributes.get(&format!("{KUBELET}{name}")).cloned().unwrap_or_default();
        let pod = Self {
            name: of("pod.name"),
            namespace: of("pod.namespace"),
            uid: of("pod.uid"),
            service_account: of("serviceAccount.name"),
        };
        if pod.uid.is_empty() || pod.namespace.is_empty() || pod.name.is_empty() {
            let what =
                "kubelet does not say which pod this is: the CSIDriver csi.dewdrop.dev needs podInfoOnMount: true";
            return Err(SpecError(vec![what.into()]));
        }
        if of("ephemeral") != "true" {
            let what = "only inline volumes (`csi:` in the pod) are supported, no PersistentVolume";
            return Err(SpecError(vec![what.into()]));
        }
        Ok(pod)
    }
}

impl Reader<'_> {
    pub(super) fn text(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", |text| text.trim())
    }

    fn needed(&mut self, name: &str, what: &str) -> String {
        let text = self.text(name).to_owned();
        if text.is_empty() {
            self.wrong.push(format!("`{name}` is missing: {what}"));
        }
        text
    }

    fn unknown(&mut self) {
        for name in self.attributes.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
            self.wrong.push(format!("`{}` is not known; there are {}", cut(name), KNOWN.join(", ")));
        }
    }

    fn credentials(&mut self) -> Vec<Credential> {
        let text = self.needed("credentials", "lines of `name = path`, such as `db = database/creds/app`");
        let (found, wrong) = Credential::read_all(&text);
        self.wrong.extend(wrong);
        found
    }

    fn layout(&mut self, credentials: &[Credential]) -> Layout {
        let template = self.attributes.get("template").cloned();
        let file = self.text("file").to_owned();
        if !file.is_empty() && !is_file_name(&file) {
            self.wrong.push(
                "`file` must be a plain file name (letters, digits, `.`, `-`, `_`, not beginning with `..`)".into(),
            );
        }
        let named = |default: &str| if file.is_empty() { default.to_owned() } else { file.clone() };
        if let Some(template) = template {
            if !self.text("format").is_empty() {
                self.wrong.push("`template` and `format` exclude each other".into());
            }
            if file.is_empty() {
                self.wrong.push("`template` needs `file`, the name of the file that it makes".into());
            }
            if template.len() > LONGEST {
                self.wrong.push(format!("`template` is longer than {LONGEST} bytes"));
            }
            if let Err(why) = dewdrop_api::template::check(&template, credentials) {
                self.wrong.push(why);
            }
            return Layout::One { file: named("template"), form: Form::Template(template) };
        }
        match self.text("format") {
            "" | "files" => {
                if !file.is_empty() {
                    self.wrong.push("`file` goes with format json, env or properties, or with `template`".into());
                }
                Layout::Files
            }
            "json" => Layout::One { file: named("credentials.json"), form: Form::Json },
            "env" => Layout::One { file: named("credentials.env"), form: Form::Env },
            "properties" => Layout::One { file: named("credentials.properties"), form: Form::Properties },
            _ => {
                self.wrong.push("`format` must be files, json, env or properties".into());
                Layout::Files
            }
        }
    }

    fn mode(&mut self) -> u32 {
        let text = self.text("mode");
        if text.is_empty() {
            return DEFAULT_MODE;
        }
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o777 && mode & 0o022 == 0 && mode & 0o400 != 0 => mode,
            _ => {
                self.wrong.push(
                    "`mode` must be octal, readable by the owner and not writable by others: 0400, 0440, 0444 ..."
                        .into(),
                );
                DEFAULT_MODE
            }
        }
    }

    fn id(&mut self, name: &str) -> Option<u32> {
        let text = self.text(name);
        if text.is_empty() {
            return None;
        }
        let id = text.parse().ok().filter(|id| *id < u32::MAX);
        if id.is_none() {
            self.wrong.push(format!("`{name}` must be a number"));
        }
        id
    }

    fn signal(&mut self) -> Option<Signal> {
        match self.text("signal").trim_start_matches("SIG") {
            "" => None,
            "HUP" => Some(Signal::HUP),
            "INT" => Some(Signal::INT),
            "QUIT" => Some(Signal::QUIT),
            "TERM" => Some(Signal::TERM),
            "USR1" => Some(Signal::USR1),
            "USR2" => Some(Signal::USR2),
            "WINCH" => Some(Signal::WINCH),
            _ => {
                self.wrong.push("`signal` must be HUP, INT, QUIT, TERM, USR1, USR2 or WINCH".into());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Verb;
    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    const LEAST: [(&str, &str); 3] =
        [("container", "app"), ("role", "app"), ("credentials", "db = database/creds/app")];

    #[test]
    fn the_least_that_a_volume_needs() {
        let spec = VolumeSpec::parse(&attributes(&LEAST)).unwrap();
        assert_eq!(
            (spec.container.as_str(), spec.role.as_str(), spec.mode, spec.uid, spec.gid),
            ("app", "app", 0o400, 0, None)
        );
        assert_eq!(
            spec.credentials,
            [Credential { name: "db".into(), verb: Verb::Get, path: "database/creds/app".into() }]
        );
        assert_eq!(spec.layout, Layout::Files);
    }

    #[test]
    fn all_of_it() {
        let mut all = attributes(&LEAST);
        let more = [
            ("credentials", "# two\ndb = database/creds/app\n\ncert = PUT pki/issue/app"),
            ("format", "env"),
            ("file", ".env"),
            ("mode", "0440"),
            ("uid", "1000"),
            ("gid", "2000"),
            ("signal", "SIGHUP"),
            ("namespace", "/team/"),
            ("csi.storage.k8s.io/pod.uid", "u"),
        ];
        all.extend(attributes(&more));
        let spec = VolumeSpec::parse(&all).unwrap();
        assert_eq!(spec.credentials[1].verb, Verb::Put);
        assert_eq!(spec.layout, Layout::One { file: ".env".into(), form: Form::Env });
        assert_eq!((spec.mode, spec.uid, spec.gid, spec.signal), (0o440, 1000, Some(2000), Some(Signal::HUP)));
        assert_eq!(spec.namespace, "team");
        assert!(!spec.attributes().contains_key("csi.storage.k8s.io/pod.uid"));
        assert_eq!(VolumeSpec::parse(spec.attributes()).unwrap(), spec, "what the journal keeps gives the same");
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let wrong = [
            ("contaner", "app"),
            ("credentials", "db database\n../x = a/b\ndb = a/../b\nok = a\nok = b"),
            ("format", "yaml"),
            ("file", "a/b"),
            ("mode", "0666"),
            ("uid", "-1"),
            ("signal", "KILL"),
        ];
        let SpecError(wrong) = VolumeSpec::parse(&attributes(&wrong)).unwrap_err();
        let all = wrong.join("\n");
        for part in [
            "`contaner` is not known",
            "`container` is missing",
            "`role` is missing",
            "not `name = path`",
            "the name \"../x\"",
            "no path of the server for \"db\"",
            "\"ok\" twice",
            "`format` must be",
            "`file` must be",
            "`mode` must be",
            "`uid` must be",
            "`signal` must be",
        ] {
            assert!(all.contains(part), "{part} is not in\n{all}");
        }
    }

    #[test]
    fn kubelet_must_say_which_pod_it_is() {
        assert!(PodInfo::parse(&attributes(&LEAST)).is_err());
        let mut told = attributes(&[
            ("csi.storage.k8s.io/pod.name", "web"),
            ("csi.storage.k8s.io/pod.namespace", "shop"),
            ("csi.storage.k8s.io/pod.uid", "u-1"),
            ("csi.storage.k8s.io/serviceAccount.name", "web"),
        ]);
        assert!(PodInfo::parse(&told).unwrap_err().to_string().contains("inline"));
        told.insert("csi.storage.k8s.io/ephemeral".into(), "true".into());
        let pod = PodInfo::parse(&told).unwrap();
        assert_eq!((pod.name.as_str(), pod.namespace.as_str(), pod.uid.as_str()), ("web", "shop", "u-1"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(pairs in proptest::collection::btree_map("[a-z]{0,12}|container|credentials|file|format|mode|template", ".{0,200}", 0..12)) {
            if let Ok(spec) = VolumeSpec::parse(&pairs) {
                prop_assert!(spec.credentials.iter().all(|one| is_file_name(&one.name)));
                prop_assert_eq!(spec.mode & 0o022, 0);
            }
        }
    }
}

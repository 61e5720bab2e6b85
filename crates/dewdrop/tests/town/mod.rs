//! Ann asks, ben leads, cleo leads and looks after the record, dave has a policy of before, eve is nobody. The access proxy is played by hand.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::common::http::Answer;
use super::common::kept::Kept;
use super::common::transcript;

const PEOPLE: &str = r#"
path "access/request" { capabilities = ["create", "update"] }
path "access/requests" { capabilities = ["list"] }
path "access/offers" { capabilities = ["list"] }
path "access/requests/*" { capabilities = ["read", "create", "update"] }
path "access/clusters/+" { capabilities = ["read"] }
"#;
/// As it was before roles were offered.
const BEFORE: &str = r#"
path "access/request" { capabilities = ["create", "update"] }
path "access/requests" { capabilities = ["list"] }
"#;
const AUDITOR: &str = r#"
path "access/recordings" { capabilities = ["list"] }
path "access/recordings/+" { capabilities = ["read"] }
path "access/roles/+" { capabilities = ["read"] }
"#;

/// Where API servers would reach the mount.
const ISSUER: &str = "https://dewdrop.example:8200/v1/access";

/// A server with people.
pub struct Town {
    server: Kept,
}

impl Town {
    /// Everybody moves in.
    pub fn open() -> Self {
        let town = Self { server: Kept::start() };
        town.make("sys/mounts/access", json!({ "type": "access" }));
        town.make("sys/auth/userpass", json!({ "type": "userpass" }));
        town.make("sys/policies/acl/people", json!({ "policy": PEOPLE }));
        town.make("sys/policies/acl/before", json!({ "policy": BEFORE }));
        town.make("sys/policies/acl/auditor", json!({ "policy": AUDITOR }));
        let accessor = town.server.call("GET", "sys/auth", &Value::Null).ok().value();
        let accessor = accessor["data"]["userpass/"]["accessor"].clone();
        let mut groups = vec![("devs", vec![]), ("leads", vec![])];
        for (name, policies, of) in [
            ("ann", "people", &[0][..]),
            ("ben", "people", &[0, 1]),
            ("cleo", "people,auditor", &[1]),
            ("dave", "before", &[0]),
            ("eve", "default", &[]),
        ] {
            let user = json!({ "password": format!("of-{name}"), "token_policies": policies });
            town.make(&format!("auth/userpass/users/{name}"), user);
            let id = town.make("identity/entity", json!({ "name": name }))["data"]["id"].clone();
            town.make("identity/entity-alias", json!({ "name": name, "mount_accessor": accessor, "canonical_id": id }));
            of.iter().for_each(|group| groups[*group].1.push(id.clone()));
            std::fs::create_dir(town.home(name)).unwrap();
        }
        for (name, members) in groups {
            town.make("identity/group", json!({ "name": name, "member_entity_ids": members }));
        }
        town.make("access/clusters/prod", json!({ "address": "https://access.prod.example:6443" }));
        town.make("access/roles/shop", role("shop", &["get", "list"], "pods"));
        let mut secrets = role("shop", &["get"], "secrets");
        secrets["ticket_pattern"] = json!("^OPS-[0-9]+$");
        town.make("access/roles/shop-secrets", secrets);
        town
    }

    fn make(&self, path: &str, body: Value) -> Value {
        self.server.call("POST", path, &body).ok().value()
    }

    fn home(&self, name: &str) -> PathBuf {
        self.server.folder().join(name)
    }

    /// What somebody's plug-in kept.
    pub fn cache(&self, name: &str) -> PathBuf {
        self.home(name).join(".cache/dewdrop")
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.http().port)
    }

    /// The program under one of its names, as somebody.
    pub fn command(&self, name: &str, program: &str, args: &[&str]) -> Command {
        let path = self.home(name).join(program);
        if !path.exists() {
            symlink(env!("CARGO_BIN_EXE_dewdrop"), &path).unwrap();
        }
        let mut command = Command::new(path);
        command.args(args).env_clear().current_dir(self.home(name)).stdin(Stdio::null()).env("HOME", self.home(name));
        command.env("DEWDROP_ADDR", self.address()).env("DEWDROP_MAX_RETRIES", "0").env("PATH", self.home(name));
        command
    }

    /// The same at a terminal.
    pub fn at_terminal(&self, name: &str, line: &str) -> Command {
        let ours = self.command(name, "dewdrop", &[]);
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--flush", "--command", line, "/dev/null"]).current_dir(self.home(name));
        command.env_clear().envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("TERM", "xterm").env("SHELL", "/bin/sh");
        command.env("PATH", format!("{}:/usr/bin:/bin", self.home(name).display()));
        command
    }

    /// Runs it, which must end with this code, and returns what it printed.
    pub fn ok(&self, name: &str, args: &[&str], code: i32) -> String {
        let output = self.command(name, "dewdrop", args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{name} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it, which must fail, and returns what it complained of.
    pub fn fails(&self, name: &str, args: &[&str]) -> String {
        let output = self.command(name, "dewdrop", args).output().unwrap();
        assert!(!output.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    /// What happens beside the conversation.
    pub fn happens(&self, what: &str) {
        let grant = self.requests().into_iter().next().unwrap_or_default();
        match what {
            "the proxy records what ann does" => {
                self.make("access/record", json!({ "lines": record(&grant) }));
                self.session(&grant);
            }
            "a session is recorded" => self.session(&grant),
            "there is a kubeconfig" => {
                std::fs::create_dir(self.home("ann").join(".kube")).unwrap();
                let config = json!({ "clusters": [{ "name": "mine", "cluster": { "server": "https://mine" } }], "users": [], "contexts": [] });
                std::fs::write(self.home("ann").join(".kube/config"), config.to_string()).unwrap();
            }
            "a cluster without the proxy is made known" => self.edge(json!({})),
            "a cluster that takes tokens is made known" => {
                self.make("access/issuer", json!({ "url": ISSUER }));
                self.edge(json!({ "credential": "token" }));
            }
            "another server takes tokens of the issuer" => self.verifier(),
            "that server fetches the keys" => self.fetches_keys(),
            other => panic!("{other} does not happen here"),
        }
    }

    /// A cluster whose API server would be known by some certificate, and a role for it.
    fn edge(&self, how: Value) {
        let ca = self.server.call("GET", "access/ca", &Value::Null).ok().value()["data"]["certificate"].clone();
        let mut cluster = json!({ "mode": "direct", "address": "https://10.0.0.1:6443", "certificate_authority": ca });
        cluster.as_object_mut().unwrap().extend(how.as_object().cloned().unwrap());
        self.make("access/clusters/edge", cluster);
        let mut role = role("shop", &["get", "list"], "pods");
        for (field, value) in [
            ("clusters", json!("edge")),
            ("namespaces", json!("shop,web")),
            ("kubernetes_groups", json!("dewdrop:edge")),
            ("record_sessions", json!(false)),
        ] {
            role[field] = value;
        }
        self.make("access/roles/edge", role);
    }

    /// Whoever knows the public keys alone: logins by JWT, which are written with another library.
    fn verifier(&self) {
        self.make("sys/auth/jwt", json!({ "type": "jwt" }));
        self.fetches_keys();
        for audience in ["dewdrop-edge", "dewdrop-other"] {
            let role = json!({
                "role_type": "jwt", "user_claim": "sub", "groups_claim": "groups", "bound_audiences": audience,
                "claim_mappings": { "grant": "grant", "jti": "jti", "sub": "person" },
            });
            self.make(&format!("auth/jwt/role/{audience}"), role);
        }
    }

    fn fetches_keys(&self) {
        let keys = format!("{}/v1/access/.well-known/keys", self.address());
        let config = json!({ "jwks_url": keys, "bound_issuer": ISSUER, "jwt_supported_algs": ["ES256", "RS256"] });
        self.make("auth/jwt/config", config);
    }

    /// A token is shown to it.
    pub fn shows(&self, audience: &str, token: &str) -> Answer {
        self.server.call("POST", "auth/jwt/login", &json!({ "role": audience, "jwt": token }))
    }

    /// The administrator writes.
    pub fn writes(&self, path: &str, body: Value) -> Value {
        self.make(path, body)
    }

    /// A session in two pieces; the border is within a word and within a sequence.
    fn session(&self, grant: &str) {
        let head = json!({ "version": 2, "width": 80, "height": 24, "timestamp": 1, "title": "pods/exec web in shop" });
        let about = json!({
            "grant": grant, "user": "ann", "cluster": "prod", "namespace": "shop", "name": "web", "target": "pods/exec",
        });
        let first = [
            head.to_string(),
            line(0.5, "o", "\u{1b}[1;31mred\u{1b}[0m \u{1b}]52;c;ZXZpbA==\u{7}\u{1b}[6n$ "),
            line(1.0, "i", "secret typed\r"),
            line(2.25, "o", "drop tab"),
            line(2.25, "o", "\u{1b}[1"),
        ];
        let second = [line(2.5, "o", "mle orders\u{202e}\r\n"), line(75.0, "o", "bye\r\n")];
        for (number, lines) in [(0, first.join("\n")), (1, second.join("\n"))] {
            let mut piece = json!({ "number": number, "cast": format!("{lines}\n"), "last": number == 1 });
            if number == 0 {
                piece["about"] = about.clone();
            }
            self.make("access/recordings/session1", piece);
        }
    }

    /// The names of all requests, the oldest first.
    fn requests(&self) -> Vec<String> {
        let listed = self.server.call("GET", "access/all-requests?list=true", &Value::Null).value();
        let keys = listed["data"]["keys"].as_array().cloned().unwrap_or_default();
        keys.iter().rev().map(|key| key.as_str().unwrap().to_owned()).collect()
    }

    /// Names of requests, the log and the homes in a command.
    pub fn unhide(&self, command: &str) -> String {
        let mut command = command.replace("LOG", &self.server.folder().join("data/audit").display().to_string());
        for (id, number) in self.requests().iter().zip(1..) {
            command = command.replace(&format!("REQUEST{number}"), id);
        }
        command
    }

    /// What differs from run to run.
    pub fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (id, number) in self.requests().iter().zip(1..) {
            text = text.replace(id, &format!("REQUEST{number}"));
        }
        for (real, shown) in [
            (env!("CARGO_BIN_EXE_dewdrop").to_owned(), "PROGRAM"),
            (self.server.folder().display().to_string(), "FOLDER"),
        ] {
            text = text.replace(&real, shown);
        }
        let text = transcript::hide(&text, &self.address());
        text.lines().map(numbers).collect::<Vec<_>>().join("\n")
    }
}

/// Numbers of lines of the log.
fn numbers(line: &str) -> String {
    let at = if line.starts_with("The log holds") { Some(0) } else { line.rfind("(line ") };
    let Some(at) = at else { return line.to_owned() };
    let (head, tail) = line.split_at(at);
    let tail: String = tail.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    format!("{head}{}", tail.replace("0000", "0").replace("000", "0").replace("00", "0"))
}

fn line(at: f64, code: &str, data: &str) -> String {
    json!([at, code, data]).to_string()
}

fn role(namespace: &str, verbs: &[&str], resource: &str) -> Value {
    json!({
        "clusters": "prod", "namespaces": namespace, "kubernetes_groups": "dewdrop:people", "requester_groups": "devs",
        "rules": [{ "api_groups": [""], "resources": [resource], "verbs": verbs }],
        "approvals": [{ "groups": ["leads"] }], "break_glass_entities": "ben",
    })
}

/// What a proxy tells of two commands, one of them refused, and of a session.
fn record(grant: &str) -> Value {
    let told = |kind: &str, second: u32, verb: &str, target: &str, command: &str| {
        json!({
            "kind": kind, "time": format!("2030-01-01T00:00:{second:02}.000Z"), "cluster": "prod", "grant": grant,
            "user": "ann", "verb": verb, "target": target, "namespace": "shop", "name": "", "source": "10.0.0.9",
            "command": command, "recording": "", "code": 200, "refused": "", "bytes": 120, "millis": 3,
        })
    };
    let mut refused = told("request", 2, "delete", "pods", "kubectl delete pods --all");
    refused["code"] = json!(403);
    refused["refused"] = json!("this grant does not allow to delete pods");
    let mut session = told("stream", 3, "create", "pods/exec", "kubectl exec web -- sh");
    session["recording"] = json!("session1");
    session["name"] = json!("web");
    json!([told("request", 1, "list", "pods", "kubectl get pods"), refused, session])
}

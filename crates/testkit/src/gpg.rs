//! A throw-away GnuPG: a key ring of its own in a temporary folder. What it decrypts proves that others can read what we
//! encrypt.

use std::io::Write as _;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A key ring. Its agent ends when it is dropped.
pub struct Gpg {
    home: TempDir,
}

impl Gpg {
    /// An empty key ring.
    ///
    /// # Panics
    /// Without GnuPG on the machine.
    #[must_use]
    pub fn new() -> Self {
        let there = Command::new("gpg").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(
            there.is_ok_and(|status| status.success()),
            "this test needs GnuPG: run `cargo xtask tools`, or install the program `gpg` (Debian: gnupg)"
        );
        // A folder with a short path: the agent's socket lies in it. Only its owner may read it.
        Self { home: TempDir::with_prefix("ddgpg-").expect("a temporary folder") }
    }

    /// Makes a key that signs, and for each other algorithm a subkey that encrypts. Gives its fingerprint in lower case.
    pub fn make(&self, name: &str, signs: &str, encrypts: &[&str], expires: &str) -> String {
        self.run(&["--passphrase", "", "--quick-gen-key", name, signs, "sign", expires], b"");
        let listed = self.run(&["--with-colons", "--list-keys", name], b"");
        let listed = String::from_utf8(listed).expect("text");
        let print = listed.lines().find_map(|line| line.strip_prefix("fpr:")).expect("a fingerprint");
        let print = print.trim_matches(':').to_owned();
        for algorithm in encrypts {
            self.run(&["--passphrase", "", "--quick-add-key", &print, algorithm, "encr", expires], b"");
        }
        print.to_lowercase()
    }

    /// Revokes a key that [`Gpg::make`] made, with the certificate that was made beside it.
    pub fn revoke(&self, print: &str) {
        let file = self.home.path().join("openpgp-revocs.d").join(format!("{}.rev", print.to_uppercase()));
        let text = std::fs::read_to_string(file).expect("a revocation certificate");
        // The colon keeps people from importing it by mistake.
        self.run(&["--import"], text.replace(":-----BEGIN", "-----BEGIN").as_bytes());
    }

    /// Public keys in binary form.
    pub fn export(&self, names: &[&str]) -> Vec<u8> {
        self.run(&[&["--export"], names].concat(), b"")
    }

    /// A public key as text between two lines.
    pub fn armoured(&self, name: &str) -> String {
        String::from_utf8(self.run(&["--armor", "--export", name], b"")).expect("text")
    }

    /// A private key in binary form.
    pub fn export_secret(&self, name: &str) -> Vec<u8> {
        self.run(&["--passphrase", "", "--export-secret-keys", name], b"")
    }

    /// What a message says.
    pub fn decrypt(&self, message: &[u8]) -> String {
        String::from_utf8(self.run(&["--decrypt"], message)).expect("text")
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir")
            .arg(self.home.path())
            .args(["--batch", "--quiet", "--pinentry-mode", "loopback"])
            .args(args);
        let mut child =
            gpg.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("gpg starts");
        child.stdin.take().expect("a pipe").write_all(input).expect("gpg reads");
        let output = child.wait_with_output().expect("gpg ends");
        assert!(output.status.success(), "gpg {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

impl Default for Gpg {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).status();
    }
}

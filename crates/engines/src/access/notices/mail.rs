//! E-mail by SMTP. The library encodes headers and body; what goes into a header has no ends of lines before.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use super::letter::Letter;
use super::reach::{addresses, is_off_limits};
use super::words;

/// The whole of one try.
const PATIENCE: Duration = Duration::from_secs(20);
/// For the parting words: what was taken is taken.
const FAREWELL: Duration = Duration::from_secs(1);
const MOST_RECEIVERS: usize = 20;
const LONGEST_SUBJECT: usize = 150;

/// The way to a mail server, but for its address: that is looked up for each letter.
pub struct Transport {
    tls: Tls,
    /// Our name to it.
    own: ClientId,
}

/// A mail server, a sender and receivers. It holds a password, so it has no `Debug`.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Mail {
    /// The server.
    pub host: String,
    /// Its port; 0: the usual one.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Protection,
    /// Authorities of the server; empty: those of the system.
    pub ca_pem: String,
    /// The name to sign in with; empty: none.
    pub username: String,
    /// The password to sign in with.
    pub password: String,
    /// The sender.
    pub from: String,
    /// The receivers.
    pub to: Vec<String>,
}

/// How the connection is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protection {
    /// It begins in clear and must turn to TLS before anything is said.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Not at all.
    None,
}

impl Protection {
    /// Reads it.
    ///
    /// # Errors
    /// There is no such.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" | "starttls" => Ok(Self::Starttls),
            "tls" => Ok(Self::Tls),
            "none" => Ok(Self::None),
            _ => Err("tls: starttls, tls or none".into()),
        }
    }
}

impl Mail {
    /// The port, the usual one when none was given.
    pub fn port(&self) -> u16 {
        match (self.port, self.tls) {
            (0, Protection::Starttls) => 587,
            (0, Protection::Tls) => 465,
            (0, Protection::None) => 25,
            (port, _) => port,
        }
    }

    /// Whether it is fit to be kept.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self) -> Result<(), String> {
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
        if self.host.is_empty() || self.host.len() > 253 || !self.host.chars().all(is_host) {
            return Err("host: the name or address of the mail server".into());
        }
        if self.host.parse().is_ok_and(is_off_limits) {
            return Err("host: addresses of the link (169.254.0.0/16, fe80::/10) are not asked".into());
        }
        if self.username.is_empty() != self.password.is_empty() {
            return Err("username and password belong together".into());
        }
        if self.tls == Protection::None && !self.password.is_empty() {
            return Err("password: it is not sent in clear; use tls=starttls or tls=tls".into());
        }
        mailbox(&self.from).ok_or("from: an address such as dewdrop@example.com")?;
        if self.to.is_empty() || self.to.len() > MOST_RECEIVERS {
            return Err(format!("to: from 1 to {MOST_RECEIVERS} addresses"));
        }
        if self.to.iter().any(|to| mailbox(to).is_none()) {
            return Err("to: addresses such as leads@example.com".into());
        }
        self.transport().map(drop)
    }

    /// Sends it.
    ///
    /// # Errors
    /// Why it was not delivered; nothing of the password.
    pub async fn send(&self, transport: &Transport, letter: &Letter) -> Result<(), String> {
        let message = self.message(letter)?;
        let sent = async {
            let found = addresses(&self.host, self.port()).await;
            let found = found.map_err(|error| format!("the mail server's name: {}", words::why(&error)))?;
            self.hand_over(transport, &found, &message).await.map_err(|error| words::why(&error))
        };
        match tokio::time::timeout(PATIENCE, sent).await {
            Ok(Ok(mut line)) => {
                let _ = tokio::time::timeout(FAREWELL, line.abort()).await;
                Ok(())
            }
            Ok(Err(why)) => Err(self.without_password(&why)),
            Err(_) => Err(format!("the mail server took longer than {} s", PATIENCE.as_secs())),
        }
    }

    /// Hands a message over at one of these addresses. The library's own transport would look the name up again, and so
    /// connect to what nobody has looked at. The certificate is still that of the name.
    async fn hand_over(
        &self,
        transport: &Transport,
        found: &[SocketAddr],
        message: &Message,
    ) -> Result<AsyncSmtpConnection, Error> {
        let Transport { tls, own } = transport;
        let from_the_start = if let Tls::Wrapper(tls) = tls { Some(tls.clone()) } else { None };
        let patience = Some(PATIENCE / 2);
        let mut line = AsyncSmtpConnection::connect_tokio1(found, patience, own, from_the_start, None).await?;
        if let Tls::Required(tls) = tls {
            line.starttls(tls.clone(), own).await?;
        }
        if !self.username.is_empty() {
            let credentials = Credentials::new(self.username.clone(), self.password.clone());
            line.auth(DEFAULT_MECHANISMS, &credentials).await?;
        }
        line.send(message.envelope(), &message.formatted()).await?;
        Ok(line)
    }

    /// What a server answers may repeat what it was sent.
    fn without_password(&self, why: &str) -> String {
        if self.password.is_empty() {
            return why.to_owned();
        }
        let both = format!("\0{}\0{}", self.username, self.password);
        let told = [self.password.clone(), STANDARD.encode(&self.password), STANDARD.encode(both)];
        if told.iter().any(|secret| why.contains(secret.trim_end_matches('='))) {
            return "the mail server refused, in words that hold the password".into();
        }
        why.to_owned()
    }

    fn message(&self, letter: &Letter) -> Result<Message, String> {
        let address = |text: &str| mailbox(text).ok_or_else(|| "an address is none any more".to_owned());
        let from = address(&self.from)?;
        let id = format!("<{}@{}>", letter.id, from.email.domain());
        let name = |text| HeaderName::new_from_ascii_str(text);
        let header = |text, value: String| HeaderValue::new(name(text), value);
        let mut builder = Message::builder()
            .from(from)
            .subject(subject(letter))
            .date(SystemTime::UNIX_EPOCH + Duration::from_millis(letter.at.0))
            .message_id(Some(id))
            .raw_header(header("Auto-Submitted", "auto-generated".into()))
            .raw_header(header("Dewdrop-Notice", letter.id.clone()))
            .raw_header(header("Dewdrop-Event", letter.event.name().into()))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(address(to)?);
        }
        builder.body(format!("{}\n", words::whole(letter))).map_err(|error| words::why(&error))
    }

    /// What it is sent with.
    ///
    /// # Errors
    /// `ca_pem` is of no use.
    pub fn transport(&self) -> Result<Transport, String> {
        let tls = match self.tls {
            Protection::Starttls => Tls::Required(self.tls_parameters()?),
            Protection::Tls => Tls::Wrapper(self.tls_parameters()?),
            Protection::None => Tls::None,
        };
        let own = mailbox(&self.from).map_or_else(|| "localhost".to_owned(), |from| from.email.domain().to_owned());
        Ok(Transport { tls, own: ClientId::Domain(own) })
    }

    fn tls_parameters(&self) -> Result<TlsParameters, String> {
        let bad = || "ca_pem: no bundle of PEM certificates".to_owned();
        let mut builder = TlsParameters::builder(self.host.clone());
        if !self.ca_pem.trim().is_empty() {
            builder = builder.certificate_store(CertificateStore::None);
            let mut count = 0;
            for found in CertificateDer::pem_slice_iter(self.ca_pem.as_bytes()) {
                let der = found.map_err(|_| bad())?;
                let authority = Certificate::from_der(der.to_vec()).map_err(|_| bad())?;
                builder = builder.add_root_certificate(authority);
                count += 1;
            }
            if count == 0 {
                return Err(bad());
            }
        }
        builder.build().map_err(|_| bad())
    }
}

fn mailbox(text: &str) -> Option<Mailbox> {
    if text.len() > 320 || text.chars().any(char::is_control) {
        return None;
    }
    text.parse().ok()
}

fn subject(letter: &Letter) -> String {
    let mut subject: String = format!("[dewdrop] {}", words::headline(letter)).chars().take(LONGEST_SUBJECT).collect();
    subject.retain(|c| !c.is_control());
    subject
}

#[cfg(test)]
mod tests {
    use dewdrop_core::Moment;
    use serde_json::{Map, json};
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use crate::access::notices::Event;

    fn mail() -> Mail {
        let to = vec!["leads@example.com".to_owned(), "Ben Böhm <ben@example.com>".to_owned()];
        Mail { host: "mail.example".into(), from: "Dewdrop <dewdrop@example.com>".into(), to, ..Mail::default() }
    }

    fn letter(text: &str) -> Letter {
        let names = ["requester", "role", "cluster", "reason", "ticket", "id", "extends"];
        let request: Map<_, _> = names.iter().map(|name| ((*name).to_owned(), json!(text))).collect();
        Letter {
            id: "0a".into(),
            event: Event::Denied,
            at: Moment(1_767_225_600_000),
            by: words::line(text),
            comment: words::text(text),
            mount: "access/".into(),
            commands: Vec::new(),
            request,
        }
    }

    #[test]
    fn no_text_begins_a_header_or_ends_the_message() {
        for evil in [
            "x\r\nBcc: eve@example.com\r\n\r\nnew body",
            "x\nBcc: eve@example.com",
            "x\rBcc: eve@example.com",
            "x\u{2028}Bcc: eve@example.com\u{85}Bcc: eve@example.com",
            "x\r\n.\r\nMAIL FROM:<eve@example.com>",
            "\0\u{1b}[2J",
        ] {
            let message = String::from_utf8(mail().message(&letter(evil)).unwrap().formatted()).unwrap();
            let (head, body) = message.split_once("\r\n\r\n").unwrap();
            let names: Vec<&str> = head
                .split("\r\n")
                .filter(|line| !line.starts_with(' '))
                .filter_map(|line| line.split(':').next())
                .collect();
            let mut sorted = names.clone();
            sorted.sort_unstable();
            let expected = [
                "Auto-Submitted",
                "Content-Transfer-Encoding",
                "Content-Type",
                "Date",
                "Dewdrop-Event",
                "Dewdrop-Notice",
                "From",
                "MIME-Version",
                "Message-ID",
                "Subject",
                "To",
            ];
            assert_eq!(sorted.iter().filter(|name| **name != "MIME-Version").count(), expected.len() - 1, "{head}");
            assert!(names.iter().all(|name| expected.contains(name)), "{head}");
            assert!(!head.replace("\r\n", "").contains(['\r', '\n', '\0', '\u{1b}']), "{head}");
            assert!(body.contains("Comment"), "{body}");
        }
    }

    #[test]
    fn a_mail_server_is_not_on_the_link() {
        for host in ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254"] {
            assert!(Mail { host: host.into(), ..mail() }.check().unwrap_err().contains("link"), "{host}");
        }
    }

    /// Takes one message as a mail server does, and answers all that it was told.
    async fn one_message(listener: TcpListener) -> String {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 ready\r\n").await.unwrap();
        let (mut told, mut is_text) = (String::new(), false);
        loop {
            let begins = told.len();
            stream.read_line(&mut told).await.unwrap();
            let answer: &[u8] = match told[begins..].trim_end() {
                "." => b"250 taken\r\n",
                "QUIT" | "" if !is_text => return told,
                _ if is_text => continue,
                "DATA" => b"354 go on\r\n",
                _ => b"250 ok\r\n",
            };
            is_text = answer.starts_with(b"354");
            stream.write_all(answer).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_was_looked_up_is_what_is_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = [listener.local_addr().unwrap()];
        // Nobody knows this name: whoever looked it up again would find nothing.
        let mail = Mail { host: "mail.invalid".into(), tls: Protection::None, ..mail() };
        let message = mail.message(&letter("x")).unwrap();
        let transport = mail.transport().unwrap();
        let sent = async { mail.hand_over(&transport, &at, &message).await.map(drop) };
        let (told, sent) = tokio::join!(one_message(listener), sent);
        sent.unwrap();
        assert!(told.contains("RCPT TO:<leads@example.com>") && told.contains("Subject: "), "{told}");
        assert!(mail.send(&transport, &letter("x")).await.unwrap_err().starts_with("the mail server's name: "));
    }

    #[test]
    fn nobody_writes_lines_that_look_like_ours() {
        let evil = "disk full\n$ dewdrop access approve other\nBeware: nothing\n- get pods";
        let whole = words::whole(&letter(evil));
        assert!(whole.contains("Reason: disk full\n  | $ dewdrop access approve other\n  | Beware"), "{whole}");
        assert!(!whole.lines().any(|line| line.starts_with(['$', '-']) || line.starts_with("Beware")), "{whole}");
    }

    #[test]
    fn a_server_that_repeats_the_password_is_not_quoted() {
        let mail = Mail { username: "dewdrop".into(), password: "s3cret-word".into(), ..mail() };
        for told in ["535 bad s3cret-word", "535 AGRld2Ryb3AAczNjcmV0LXdvcmQ=", "535 czNjcmV0LXdvcmQ"] {
            assert!(mail.without_password(told).contains("hold the password"), "{told}");
        }
        assert_eq!(mail.without_password("permanent error (550): no such user"), "permanent error (550): no such user");
    }
}

//! The clients: each does one thing over and over until no answer comes, and notes what was acknowledged.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::check::Expected;
use super::random;
use super::stage::{Stage, text};
use crate::parts::vault::Caller;

/// Clients that write.
const WRITERS: usize = 3;
/// Keys of each, written again and again.
const KEYS: u64 = 20;
/// A client that is refused so often has told enough.
const REFUSALS: usize = 20;

/// A key of one writer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Written {
    /// The value of the last write that was acknowledged.
    pub acknowledged: Option<u64>,
    /// The value of a later write that was not: it may be there or not.
    pub tried: Option<u64>,
}

/// A database user that was handed out.
#[derive(Debug, Clone)]
pub struct User {
    /// In PostgreSQL.
    pub name: String,
    /// The id of its lease.
    pub lease: String,
}

/// What one client saw.
#[derive(Debug, Default)]
pub struct Notes {
    /// Acknowledged writes.
    pub writes: u64,
    /// What the keys must hold.
    pub keys: BTreeMap<String, Written>,
    /// Tokens that were handed out and not taken back.
    pub tokens: Vec<String>,
    /// Tokens whose revocation was acknowledged.
    pub ended_tokens: Vec<String>,
    /// Users with a long life that were handed out; those of short life are counted only.
    pub users: Vec<User>,
    /// Users whose revocation was acknowledged.
    pub ended_users: Vec<User>,
    /// Users whose revocation was asked for and not acknowledged.
    pub perhaps_ended: Vec<User>,
    /// Answers that should have been good.
    pub refusals: Vec<String>,
}

/// One client.
pub struct Worker {
    caller: Caller,
    task: Task,
    notes: Notes,
}

enum Task {
    Write(String),
    Login(Value),
    Credential(&'static str),
    Revoke(Vec<User>),
}

/// The clients of one round.
pub fn workers(stage: &Stage, expected: &mut Expected) -> Vec<Worker> {
    let mut tasks: Vec<Task> = (0..WRITERS).map(|at| Task::Write(format!("secret/data/writer{at}"))).collect();
    tasks.push(Task::Login(stage.login.clone()));
    tasks.push(Task::Credential("short"));
    tasks.push(Task::Credential("long"));
    tasks.push(Task::Revoke(expected.users_to_end()));
    tasks.into_iter().map(|task| Worker { caller: stage.client(), task, notes: Notes::default() }).collect()
}

/// The server gave no answer: it is dead.
struct Gone;

impl Worker {
    /// Works until the server is dead.
    pub fn work(mut self) -> Notes {
        match std::mem::replace(&mut self.task, Task::Revoke(Vec::new())) {
            Task::Write(below) => while self.write(&below).is_ok() {},
            Task::Login(body) => while self.login(&body).is_ok() {},
            Task::Credential(role) => while self.credential(role).is_ok() {},
            Task::Revoke(users) => self.revoke(users),
        }
        self.notes
    }

    fn write(&mut self, below: &str) -> Result<(), Gone> {
        let (key, value) = (format!("{below}/k{}", random() % KEYS), random() >> 12);
        self.notes.keys.entry(key.clone()).or_default().tried = Some(value);
        let answer = self.ask("POST", &key, Some(json!({ "data": { "value": value } })))?;
        if answer.is_some() {
            self.notes.writes += 1;
            self.notes.keys.insert(key, Written { acknowledged: Some(value), tried: None });
        }
        Ok(())
    }

    fn login(&mut self, body: &Value) -> Result<(), Gone> {
        let Some(answer) = self.ask("POST", "auth/approle/login", Some(body.clone()))? else { return Ok(()) };
        let Ok(token) = text(&answer, "/auth/client_token") else {
            self.notes.refusals.push(format!("a login without a token: {answer}"));
            return Ok(());
        };
        // Every third one is given back at once.
        if !random().is_multiple_of(3) {
            self.notes.tokens.push(token);
            return Ok(());
        }
        let own = self.caller.with_token(&token);
        match own.send("POST", "auth/token/revoke-self", None) {
            Err(_) => return Err(Gone),
            Ok((200..300, _)) => self.notes.ended_tokens.push(token),
            Ok((status, answer)) => self.notes.refusals.push(format!("revoke-self: {status} {answer}")),
        }
        Ok(())
    }

    fn credential(&mut self, role: &str) -> Result<(), Gone> {
        let Some(answer) = self.ask("GET", &format!("database/creds/{role}"), None)? else { return Ok(()) };
        match (text(&answer, "/data/username"), text(&answer, "/lease_id")) {
            (Ok(name), Ok(lease)) => self.notes.users.push(User { name, lease }),
            _ => self.notes.refusals.push(format!("a credential without user or lease: {answer}")),
        }
        Ok(())
    }

    fn revoke(&mut self, users: Vec<User>) {
        let mut users = users.into_iter();
        for user in users.by_ref() {
            match self.ask("POST", "sys/leases/revoke", Some(json!({ "lease_id": user.lease, "sync": true }))) {
                Ok(Some(_)) => self.notes.ended_users.push(user),
                Ok(None) => self.notes.perhaps_ended.push(user),
                Err(Gone) => {
                    self.notes.perhaps_ended.push(user);
                    break;
                }
            }
        }
        // Not asked for: they must still be there.
        self.notes.users.extend(users);
    }

    /// One call: the good answer, `None` for a refusal (noted), or an error when no answer came.
    fn ask(&mut self, method: &str, path: &str, body: Option<Value>) -> Result<Option<Value>, Gone> {
        match self.caller.send(method, path, body) {
            Err(_) => Err(Gone),
            Ok((200..300, answer)) => Ok(Some(answer)),
            Ok((status, answer)) => {
                self.notes.refusals.push(format!("{method} {path}: {status} {answer}"));
                if self.notes.refusals.len() >= REFUSALS { Err(Gone) } else { Ok(None) }
            }
        }
    }
}

//! The main job, from end to end: a database user for each program, gone when the program is.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use common::postgres::Postgres;
use common::{Server, eventually, send};
use rustix::process::Signal;

const SCRIPT: &str = "echo \"$DB_USERNAME $DB_PASSWORD\"; exec sleep 600";
const CREATION: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";

struct Program {
    run: Child,
    user: String,
    password: String,
}

fn setup() -> (Server, Postgres) {
    let postgres = Postgres::start();
    let server = Server::start();
    server.ok(&["secrets", "enable", "database"]);
    let url = format!("connection_url=postgresql://postgres@127.0.0.1:{}/postgres?sslmode=disable", postgres.port);
    server.ok(&["write", "database/config/pg", "plugin_name=postgresql-database-plugin", "allowed_roles=app", &url]);
    let creation = format!("creation_statements={CREATION}");
    server.ok(&["write", "database/roles/app", "db_name=pg", "default_ttl=1h", "max_ttl=2h", &creation]);
    (server, postgres)
}

fn start(server: &Server) -> Program {
    let mut command =
        server.dewdrop(&["run", "-session-ttl=5s", "-creds", "DB=database/creds/app", "--", "sh", "-c", SCRIPT]);
    let mut run = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(run.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (user, password) = line.trim().split_once(' ').unwrap();
    Program { user: user.to_owned(), password: password.to_owned(), run }
}

#[test]
fn each_program_has_a_user_of_its_own_for_as_long_as_it_lives() {
    let (server, postgres) = setup();
    let (mut first, mut second) = (start(&server), start(&server));
    assert_ne!(first.user, second.user);
    assert_eq!(postgres.psql(&first.user, &first.password, "select current_user").as_ref(), Some(&first.user));

    // The program ends: its user goes, the other's stays.
    send(first.run.id(), Signal::TERM);
    assert_eq!(first.run.wait().unwrap().code(), Some(143));
    eventually("the first user is gone", || !postgres.has_user(&first.user));
    assert!(postgres.has_user(&second.user));

    // `dewdrop run` itself is killed: the server notices that nobody renews the session.
    second.run.kill().unwrap();
    second.run.wait().unwrap();
    eventually("the second user is gone", || !postgres.has_user(&second.user));
    assert_eq!(server.run(&["lease", "list", "database/creds/app"]).status.code(), Some(2), "a lease is left");
}

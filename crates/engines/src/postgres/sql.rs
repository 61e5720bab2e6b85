//! The SQL that we write ourselves. Each text is one batch: one round trip and one transaction.

/// When an operator gives none.
pub const CREATE: &str =
    r#"CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' INHERIT;"#;
/// When an operator gives none, for a client certificate.
pub const CREATE_FOR_CERTIFICATE: &str = r#"CREATE ROLE "{{name}}" WITH LOGIN VALID UNTIL '{{expiration}}' INHERIT;"#;
/// When an operator gives none.
pub const RENEW: &str = r#"ALTER ROLE "{{name}}" VALID UNTIL '{{expiration}}';"#;
/// When an operator gives none: a new password for a role that stays.
pub const ROTATE: &str = r#"ALTER ROLE "{{name}}" WITH PASSWORD '{{password}}';"#;

/// A name in double quotes.
#[must_use]
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in single quotes, right with and without `standard_conforming_strings`.
#[must_use]
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!(" E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// Marks a role as ours; see [`marked`].
#[must_use]
pub fn mark(username: &str, mark: &str) -> String {
    format!("COMMENT ON ROLE {} IS {};", ident(username), literal(mark))
}

/// Roles whose mark begins so: rows of name and mark.
#[must_use]
pub fn marked(prefix: &str) -> String {
    let prefix = literal(prefix);
    format!(
        "SELECT r.rolname, d.description FROM pg_catalog.pg_shdescription d JOIN pg_catalog.pg_roles r ON r.oid = d.objoid \
         WHERE d.classoid = 'pg_catalog.pg_authid'::regclass AND left(d.description, length({prefix})) = {prefix} ORDER BY 1"
    )
}

/// Fails with [`TOO_LATE`] once the server's clock has passed a time in seconds since 1970.
#[must_use]
pub fn in_time(seconds: &str) -> String {
    format!("SELECT (CASE WHEN clock_timestamp() < to_timestamp({seconds}) THEN '1' ELSE '{TOO_LATE}' END)::int;")
}

/// What the server's words hold when [`in_time`] failed.
pub const TOO_LATE: &str = "dewdrop: too late";

/// One row when the role exists.
#[must_use]
pub fn exists(username: &str) -> String {
    format!("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = {}::name", literal(username))
}

/// Takes a role away for good: what it owns in this database goes to us, what it was granted is revoked, its sessions are
/// ended. The first row holds its oid in the second column: `0` when it was gone already.
///
/// The order: sessions that hold locks are ended first, then its belongings, then the role; after the commit nobody can
/// log in as it any more, so whoever slipped in meanwhile is ended last. One commit, one round trip.
#[must_use]
pub fn drop_role(username: &str) -> String {
    let who = literal(username);
    format!(
        "SELECT set_config('dewdrop.who', {who}::name::text, false), \
         set_config('dewdrop.oid', coalesce((SELECT oid::text FROM pg_catalog.pg_roles WHERE rolname = {who}::name), '0'), false);\n\
         {DROP_ROLE}\nCOMMIT;\n{END_SESSIONS}"
    )
}

/// Takes all power from a role that cannot be dropped now: no login, no sessions.
#[must_use]
pub fn disarm(username: &str) -> String {
    let (who, name) = (literal(username), ident(username));
    format!(
        "ALTER ROLE {name} NOLOGIN PASSWORD NULL VALID UNTIL '-infinity';\nCOMMIT;\n\
         SELECT set_config('dewdrop.oid', coalesce((SELECT oid::text FROM pg_catalog.pg_roles WHERE rolname = {who}::name), '0'), false);\n\
         {END_SESSIONS}"
    )
}

/// The other databases in which a role still owns or was granted something: rows of names.
#[must_use]
pub fn other_databases(username: &str) -> String {
    format!(
        "SELECT DISTINCT b.datname FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_database b ON b.oid = d.dbid \
         JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass \
         AND r.rolname = {}::name AND b.datname <> current_database() AND b.datallowconn",
        literal(username)
    )
}

/// Takes a role's belongings and grants in the database that we are connected to.
#[must_use]
pub fn disown(username: &str) -> String {
    let name = ident(username);
    format!("REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name};")
}

/// Works on the settings `dewdrop.who` and `dewdrop.oid`, so that no foreign text is in it. Whoever is no superuser needs to
/// be a member of the role before it may touch what the role owns.
const DROP_ROLE: &str = "DO $dewdrop$
DECLARE
  who name := current_setting('dewdrop.who');
  who_oid oid := current_setting('dewdrop.oid')::oid;
BEGIN
  IF who_oid = 0 THEN RETURN; END IF;
  IF EXISTS (SELECT FROM pg_catalog.pg_shdepend WHERE refclassid = 'pg_catalog.pg_authid'::regclass AND refobjid = who_oid) THEN
    IF NOT pg_catalog.pg_has_role(who_oid, 'USAGE') THEN
      BEGIN EXECUTE format('GRANT %I TO CURRENT_USER', who); EXCEPTION WHEN OTHERS THEN NULL; END;
    END IF;
    BEGIN
      PERFORM pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
        WHERE usesysid = who_oid AND pid <> pg_catalog.pg_backend_pid();
    EXCEPTION WHEN insufficient_privilege THEN NULL; END;
    EXECUTE format('REASSIGN OWNED BY %I TO CURRENT_USER', who);
    EXECUTE format('DROP OWNED BY %I', who);
  END IF;
  EXECUTE format('DROP ROLE IF EXISTS %I', who);
END $dewdrop$;";

/// Ends the sessions of `dewdrop.oid`, as far as we may.
const END_SESSIONS: &str = "DO $dewdrop$ BEGIN
  PERFORM pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
    WHERE usesysid = current_setting('dewdrop.oid')::oid AND pid <> pg_catalog.pg_backend_pid();
EXCEPTION WHEN insufficient_privilege THEN NULL; END $dewdrop$;";

//! Ring 2: the access proxy. It ends TLS, knows the grant of a person by the certificate, judges every request by that grant
//! as it is now, and acts towards the API server as that person.

pub mod grants;
pub mod headers;
pub mod info;
pub mod refuse;

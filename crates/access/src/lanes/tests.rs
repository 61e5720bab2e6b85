use std::time::Duration;

use dewdrop_api::door::Door;
use dewdrop_core::{FakeClock, Moment};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::carrier::stub::Stub;
use crate::grants::Grants;
use crate::record::Record;
use crate::upstream::{ApiServer, Place as At};

const SOON: Duration = Duration::from_secs(10);

/// A certificate for both sides: the TLS set-up of a server, and what trusts it.
fn tls() -> (Arc<ServerConfig>, TlsConnector, String) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let server = ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server), TlsConnector::from(Arc::new(client)), made.cert.pem())
}

async fn come(door: &Door, lanes: &Lanes, at: SocketAddr, tls: &Arc<ServerConfig>) -> tokio::net::TcpStream {
    let (stream, guest) = tokio::join!(tokio::net::TcpStream::connect(at), door.next());
    lanes.serve(guest, tls.clone());
    stream.unwrap()
}

async fn status(stream: &mut TlsStream<tokio::net::TcpStream>) -> String {
    stream.write_all(b"GET /api HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    // Head and body: read to the end of its JSON.
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") && !answer.ends_with(b"}\n") {
        assert_ne!(timeout(SOON, stream.read_buf(&mut answer)).await.unwrap().unwrap(), 0);
    }
    String::from_utf8_lossy(&answer[..12]).into_owned()
}

#[tokio::test]
async fn a_stranger_is_refused_on_each_lane_and_the_record_ends_with_the_last_connection() {
    let (server, client, pem) = tls();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name)
    };
    let at = At { address: "https://127.0.0.1:1".into(), authorities: file("ca", &pem), token: file("token", "t") };
    let clock = FakeClock::at(Moment(0));
    let (record, carrying) = Record::new(clock.clone(), Stub::default());
    let carrying = tokio::spawn(carrying);
    let desk = |_| Desk {
        cluster: "prod".into(),
        grants: Arc::new(Grants::new(clock.clone())),
        api: ApiServer::open(at.clone(), clock.clone()).unwrap(),
        record: record.clone(),
        carrier: Arc::new(Stub::default()),
        patience: SOON,
        clock: clock.clone(),
    };
    let lanes = Lanes::open((0..2).map(desk).collect()).unwrap();
    drop(record);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let door = Door::new(listener, 8);
    let mut open = Vec::new();
    for _ in 0..3 {
        let stream = come(&door, &lanes, address, &server).await;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = timeout(SOON, client.connect(name, stream)).await.unwrap().unwrap();
        assert_eq!(status(&mut stream).await, "HTTP/1.1 401");
        open.push(stream);
    }
    let ends = lanes.close();
    assert_eq!(ends.len(), 2);
    assert_eq!(status(open.last_mut().unwrap()).await, "HTTP/1.1 401", "what is open goes on");
    assert!(!carrying.is_finished());
    drop(open);
    timeout(SOON, carrying).await.expect("nobody writes on the record any more").unwrap();
}

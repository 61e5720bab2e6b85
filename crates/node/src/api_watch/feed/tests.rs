use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::super::KubeSettings;
use super::*;

/// What a played API server answers, in order; then it hangs up.
type Script = Arc<Mutex<VecDeque<(u16, Vec<String>)>>>;

#[derive(Default)]
struct Notes(Mutex<Vec<String>>, AtomicU32);

impl Viewer for Notes {
    fn listing(&self) -> Vec<String> {
        vec![self.1.fetch_add(1, Ordering::Relaxed).to_string()]
    }
    fn all(&self, pods: Vec<PodSeen>, before: &[String]) {
        let uids: Vec<String> = pods.into_iter().map(|pod| pod.uid).collect();
        self.0.lock().push(format!("all {} since {}", uids.join(","), before.join(",")));
    }
    fn pod(&self, pod: PodSeen) {
        self.0.lock().push(format!("pod {} {}", pod.uid, pod.version));
    }
    fn gone(&self, uid: &str) {
        self.0.lock().push(format!("gone {uid}"));
    }
    fn link(&self, state: Result<(), &str>) {
        self.0.lock().push(state.map_or_else(|why| format!("lost: {why}"), |()| "up".into()));
    }
}

fn pod(uid: &str, version: u32) -> Value {
    json!({
        "metadata": { "uid": uid, "resourceVersion": version.to_string() },
        "spec": { "volumes": [{ "csi": { "driver": "csi.dewdrop.dev" } }] },
    })
}

fn list(version: u32, pods: &[Value]) -> (u16, Vec<String>) {
    (200, vec![json!({ "metadata": { "resourceVersion": version.to_string() }, "items": pods }).to_string()])
}

fn event(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}

async fn serve(stream: TcpStream, script: &Script, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut first, mut token) = (String::new(), String::new());
    stream.read_line(&mut first).await?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if let Some(given) = line.trim_end().strip_prefix("authorization: Bearer ") {
            token = given.to_owned();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default();
    let from = path.split('&').find(|part| part.starts_with("resourceVersion")).unwrap_or("list");
    asked.lock().push(format!("{from} as {token}"));
    assert!(path.ends_with("fieldSelector=spec.nodeName%3Dn1"), "{path}");
    let Some((status, parts)) = script.lock().pop_front() else { return std::future::pending().await };
    let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    for part in parts {
        // In two pieces each.
        let (one, two) = part.split_at(part.len() / 2);
        for piece in [one, two].into_iter().filter(|piece| !piece.is_empty()) {
            stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await?;
            stream.flush().await?;
        }
    }
    stream.write_all(b"0\r\n\r\n").await
}

/// Plays a script; answers what the viewer was told and what the server was asked.
async fn play(answers: Vec<(u16, Vec<String>)>) -> (Vec<String>, Vec<String>) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let token_file = dir.path().join("token");
    std::fs::write(&token_file, "one\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let script: Script = Arc::new(Mutex::new(answers.into()));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (its_script, its_asked, its_token) = (script.clone(), asked.clone(), token_file.clone());
    let served = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if its_script.lock().is_empty() {
                its_asked.lock().push("end".into());
                return pending_with(stream).await;
            }
            drop(serve(stream, &its_script, &its_asked).await);
            // Kubelet replaces it.
            std::fs::write(&its_token, "two").unwrap();
        }
    });
    let api = Api::new(KubeSettings { server, ca_file: "/none".into(), token_file });
    let notes = Arc::new(Notes::default());
    let until_end = async {
        while asked.lock().last().is_none_or(|last| last != "end") {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::select! {
        never = watch(&api, "n1", notes.clone()) => match never {},
        done = tokio::time::timeout(limit, until_end) => done.expect("the script is played"),
    }
    served.abort();
    let asked: Vec<String> = asked.lock().iter().filter(|line| *line != "end").cloned().collect();
    let told = notes.0.lock().clone();
    (told, asked)
}

#[tokio::test]
async fn a_watch_goes_on_where_it_ended() {
    let mark = json!({ "metadata": { "resourceVersion": "9" }, "spec": { "containers": null }, "status": {} });
    let other = json!({ "metadata": { "uid": "x", "resourceVersion": "7" } });
    let events = vec![event("ADDED", &other), event("MODIFIED", &pod("a", 8)), event("BOOKMARK", &mark)];
    let (told, asked) =
        play(vec![list(5, &[pod("a", 3)]), (200, events), (200, vec![event("DELETED", &pod("a", 12))]), (200, vec![])])
            .await;
    assert_eq!(told, ["all a since 0", "up", "pod a 8", "up", "gone a", "up"]);
    let expected = ["list as one", "resourceVersion=5 as two", "resourceVersion=9 as two", "resourceVersion=12 as two"];
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn what_the_server_has_forgotten_is_listed_anew() {
    let gone = json!({ "kind": "Status", "status": "Failure", "code": 410 });
    let (told, asked) = play(vec![
        list(5, &[pod("a", 3)]),
        (200, vec![event("ERROR", &gone)]),
        list(20, &[]),
        (410, vec![]),
        list(30, &[pod("b", 21)]),
        (200, vec![]),
    ])
    .await;
    assert_eq!(told, ["all a since 0", "up", "all  since 1", "all b since 2", "up"]);
    assert_eq!(asked.iter().filter(|line| line.starts_with("list")).count(), 3);
}

#[tokio::test]
async fn trouble_is_told_and_tried_again() {
    let (told, asked) = play(vec![
        (403, vec![]),
        (200, vec!["no json".into()]),
        list(5, &[]),
        (500, vec![]),
        (200, vec!["{}\n".into()]),
        (200, vec![event("ADDED", &pod("a", 6)), "half".into()]),
    ])
    .await;
    assert!(told[0].contains("403") && told[0].contains("list pods"), "{told:?}");
    assert!(told[1].contains("cannot be read"), "{told:?}");
    assert_eq!(told[2], "all  since 2");
    assert!(told[3].contains("status 500"), "{told:?}");
    assert_eq!(told[4], "up");
    assert!(told[5].contains("cannot be read"), "{told:?}");
    assert_eq!(told[6..], ["up", "pod a 6"], "half a line is no event");
    assert_eq!(asked[3..], ["resourceVersion=5 as two"; 3], "no new list");
}

/// Holds a connection and says nothing.
async fn pending_with(stream: TcpStream) {
    std::future::pending::<()>().await;
    drop(stream);
}

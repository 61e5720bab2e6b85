use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::patch::testing::apply;
use crate::rules::{Ground, SecretFolders, check, literal_secrets};

fn settings() -> Settings {
    let agentless = Agentless {
        image: "dewdrop-exec:1".into(),
        image_volume: false,
        address: "https://dewdrop.dewdrop-system:8200".into(),
        auth_mount: "kubernetes".into(),
        ca: None,
    };
    Settings { audience: "dewdrop".into(), agentless: Some(agentless) }
}

fn read(pod: &Value) -> Pod {
    serde_json::from_value(pod.clone()).unwrap()
}

/// Changes the pod, and checks that the second time nothing is changed and that the guards are content.
fn changed(mut pod: Value) -> Value {
    let ops = patch(&read(&pod), "team", &settings()).unwrap();
    apply(&mut pod, &ops);
    assert_eq!(patch(&read(&pod), "team", &settings()).unwrap(), [], "asked again");
    let ground = Ground {
        audience: "dewdrop".into(),
        folders: SecretFolders::new("/var/lib/kubelet"),
        exec_image: Some("dewdrop-exec:1".into()),
    };
    assert_eq!(check(&read(&pod), "team", &ground), []);
    assert_eq!(literal_secrets(&read(&pod)), [], "what we put there is no secret");
    pod
}

fn volume(name: &str, container: &str, switch: &str) -> Value {
    json!({"name": name, "csi": {"driver": "csi.dewdrop.dev", "readOnly": true, "volumeAttributes": {
        "container": container, "role": name, "credentials": "db = x/y", switch: "true"}}})
}

fn container(name: &str, volumes: &[&str], command: &Value) -> Value {
    let mounts: Vec<Value> =
        volumes.iter().map(|v| json!({"name": v, "mountPath": format!("/{v}"), "readOnly": true})).collect();
    json!({"name": name, "volumeMounts": mounts, "command": command})
}

#[test]
fn a_command_and_the_images_own() {
    for switch in ["env", "gate"] {
        let mut app = container("app", &["db"], &json!(["/app"]));
        app["args"] = json!(["-v"]);
        let pod = changed(json!({"metadata": {"annotations": {"x": "y"}}, "spec": {
            "volumes": [volume("db", "app", switch), volume("m", "init", switch)],
            "initContainers": [container("init", &["m"], &json!(null))],
            "containers": [{"name": "first"}, app],
        }}));
        assert_eq!(pod["spec"]["containers"][1]["command"], json!(["/db/.dewdrop/exec", "--", "/app"]));
        assert_eq!(pod["spec"]["containers"][1]["args"], json!(["-v"]));
        assert_eq!(pod["spec"]["initContainers"][0]["command"], json!(["/m/.dewdrop/exec", "--image", "--"]));
        assert_eq!(pod["spec"]["containers"][0], json!({"name": "first"}));
        assert_eq!(pod["metadata"]["annotations"], json!({"x": "y", "dewdrop.dev/wrapped": "init,app"}));
    }
}

#[test]
fn variables_by_name_are_variables() {
    let mut pod = json!({"metadata": {}, "spec": {"volumes": [volume("db", "app", "mode")], "containers": [container("app", &["db"], &json!(null))]}});
    pod["spec"]["volumes"][0]["csi"]["volumeAttributes"]["variables"] = json!("PGUSER = db.username");
    assert_eq!(changed(pod)["spec"]["containers"][0]["command"], json!(["/db/.dewdrop/exec", "--image", "--"]));
}

#[test]
fn two_volumes_are_two_wrappers() {
    let pod = changed(json!({"metadata": {}, "spec": {
        "volumes": [volume("a", "app", "env"), volume("b", "app", "gate")],
        "containers": [container("app", &["a", "b"], &json!(["/app"]))],
    }}));
    assert_eq!(
        pod["spec"]["containers"][0]["command"],
        json!(["/a/.dewdrop/exec", "--", "/b/.dewdrop/exec", "--", "/app"])
    );
}

#[test]
fn who_does_not_ask_is_not_changed() {
    let files = json!({"spec": {
        "volumes": [volume("db", "app", "file"), {"name": "x", "csi": {"driver": "other", "volumeAttributes": {"env": "true", "container": "app"}}}],
        "containers": [container("app", &["db", "x"], &json!(["/app"]))],
    }});
    assert_eq!(patch(&read(&files), "team", &settings()).unwrap(), []);
    assert_eq!(patch(&read(&json!({})), "team", &settings()).unwrap(), []);
    let off = json!({"metadata": {"annotations": {"dewdrop.dev/agentless": "false", "dewdrop.dev/role.app": "x"}}});
    assert_eq!(patch(&read(&off), "team", &settings()).unwrap(), []);
}

#[test]
fn another_containers_mount_gets_no_wrapper() {
    let pod = json!({"spec": {"volumes": [volume("db", "app", "env")], "containers": [container("thief", &["db"], &json!(["/sh"]))]}});
    assert_eq!(patch(&read(&pod), "team", &settings()).unwrap(), []);
}

fn agentless(spec: Value) -> Value {
    json!({"metadata": {"annotations": {
        "dewdrop.dev/agentless": "true", "dewdrop.dev/role.app": "app", "dewdrop.dev/credentials.app": "db = database/creds/app",
    }}, "spec": spec})
}

#[test]
fn agentless_from_nothing() {
    let mut pod = agentless(json!({"containers": [{"name": "side"}, {"name": "app", "command": ["/app"]}]}));
    pod["metadata"]["annotations"]["dewdrop.dev/signal.app"] = json!("TERM");
    pod["metadata"]["annotations"]["dewdrop.dev/variables.app"] = json!("PGUSER = db.username");
    let pod = changed(pod);
    let spec = &pod["spec"];
    let token = &spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["audience"], "dewdrop://team/app");
    assert_eq!(spec["volumes"].as_array().unwrap().len(), 2);
    assert_eq!(spec["initContainers"][0]["image"], "dewdrop-exec:1");
    let app = &spec["containers"][1];
    assert_eq!(app["command"], json!(["/dewdrop/.dewdrop/exec", "--", "/app"]));
    assert_eq!(app["volumeMounts"].as_array().unwrap().len(), 2);
    assert!(app["env"].as_array().unwrap().contains(&json!({"name": "DEWDROP_ROLE", "value": "app"})));
    assert!(app["env"].as_array().unwrap().contains(&json!({"name": "DEWDROP_SIGNAL", "value": "TERM"})));
    let variables = json!({"name": "DEWDROP_VARIABLES", "value": "PGUSER = db.username"});
    assert!(app["env"].as_array().unwrap().contains(&variables));
    assert_eq!(spec["containers"][0], json!({"name": "side"}), "the other container gets nothing");
}

#[test]
fn agentless_beside_what_is_there() {
    let pod = changed(agentless(json!({
        "volumes": [{"name": "dewdrop-token-0"}],
        "initContainers": [{"name": "init", "command": ["/i"]}],
        "containers": [{"name": "app", "command": ["/app"], "env": [{"name": "DEWDROP_ROLE", "value": "mine"}], "volumeMounts": [{"name": "dewdrop-token-0"}]}],
    })));
    let names =
        |list: &str| pod["spec"][list].as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names("volumes"), ["dewdrop-token-0", "dewdrop-token-1000", "dewdrop-exec"]);
    assert_eq!(names("initContainers"), ["dewdrop-exec", "init"]);
    let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    assert_eq!(env.iter().filter(|one| one["name"] == "DEWDROP_ROLE").count(), 1, "what the pod says stays");
}

#[test]
fn agentless_for_an_init_container_is_patched_before_ours_comes_in() {
    let mut pod = agentless(
        json!({"initContainers": [{"name": "migrate", "command": ["/m"]}], "containers": [{"name": "app", "command": ["/app"]}]}),
    );
    pod["metadata"]["annotations"]["dewdrop.dev/role.migrate"] = json!("m");
    pod["metadata"]["annotations"]["dewdrop.dev/credentials.migrate"] = json!("db = x/y");
    let pod = changed(pod);
    assert_eq!(pod["spec"]["initContainers"][1]["command"], json!(["/dewdrop/.dewdrop/exec", "--", "/m"]));
    assert_eq!(pod["metadata"]["annotations"]["dewdrop.dev/wrapped"], "migrate,app");
}

#[test]
fn agentless_with_the_image_as_a_volume() {
    let mut settings = settings();
    settings.agentless.as_mut().unwrap().image_volume = true;
    let mut pod = agentless(json!({"containers": [{"name": "app", "command": ["/app"]}]}));
    let ops = patch(&read(&pod), "team", &settings).unwrap();
    apply(&mut pod, &ops);
    assert_eq!(patch(&read(&pod), "team", &settings).unwrap(), [], "asked again");
    let volume =
        json!({"name": "dewdrop-exec", "image": {"reference": "dewdrop-exec:1", "pullPolicy": "IfNotPresent"}});
    assert_eq!(pod["spec"]["volumes"][1], volume);
    assert_eq!(pod["spec"].get("initContainers"), None);
}

#[test]
fn agentless_needs_to_know_the_command() {
    for more in [json!({}), json!({"args": ["-v"]}), json!({"command": ["/dewdrop/.dewdrop/exec", "--image", "--"]})] {
        let mut app = json!({"name": "app"});
        app.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let why = patch(&read(&agentless(json!({"containers": [app]}))), "team", &settings()).unwrap_err();
        assert!(why.contains("\"app\" names no command") && why.contains("ENTRYPOINT"), "{why}");
    }
}

/// Any command, with parts that look like ours among its own.
fn commands() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "/app",
        "--",
        "--image",
        "/v0/.dewdrop/exec",
        "/v1/.dewdrop/exec",
        "/dewdrop/.dewdrop/exec",
        "",
    ]);
    prop_oneof![Just(json!(null)), prop::collection::vec(word, 0..6).prop_map(|words| json!(words))]
}

/// A pod of two containers and two volumes, whoever owns and mounts them.
fn pods() -> impl Strategy<Value = Value> {
    let switch = || prop::sample::select(vec!["env", "gate", "variables", "mode"]);
    let owner = || prop::sample::select(vec!["c0", "c1", "init", "nobody"]);
    let mounts = || prop::sample::subsequence(vec!["v0", "v1"], 0..=2);
    let containers = ((mounts(), commands()), (mounts(), commands()), (mounts(), commands()));
    let volumes = (switch(), owner(), switch(), owner());
    (volumes, containers, any::<bool>(), any::<bool>()).prop_map(|(v, (a, b, c), agentless, notes)| {
        let mut pod = json!({"metadata": {}, "spec": {
            "volumes": [volume("v0", v.1, v.0), volume("v1", v.3, v.2)],
            "initContainers": [container("init", &a.0, &a.1)],
            "containers": [container("c0", &b.0, &b.1), container("c1", &c.0, &c.1)],
        }});
        if agentless {
            pod["metadata"]["annotations"] = json!({"dewdrop.dev/agentless": "true", "dewdrop.dev/role.c1": "x"});
        } else if notes {
            pod["metadata"]["annotations"] = json!({"dewdrop.dev/wrapped": "c0"});
        }
        pod
    })
}

proptest! {
    #[test]
    fn whatever_the_pod_the_second_time_changes_nothing(mut pod in pods()) {
        let ops = match patch(&read(&pod), "team", &settings()) {
            Ok(ops) => ops,
            // The only pods that are refused are those whose command nobody knows.
            Err(why) => {
                prop_assert!(why.contains("\"c1\" names no command"), "{}", why);
                return Ok(());
            }
        };
        let before = pod.clone();
        apply(&mut pod, &ops);
        prop_assert_eq!(patch(&read(&pod), "team", &settings()).unwrap(), []);
        // Nobody loses a word of his command.
        for place in ["/spec/initContainers/0", "/spec/containers/0", "/spec/containers/1"] {
            let name = before.pointer(place).unwrap()["name"].as_str().unwrap().to_owned();
            let words = |of: &Value| read(of).container(&name).unwrap().command.clone();
            prop_assert!(words(&pod).ends_with(&words(&before)));
        }
    }
}

#!/bin/sh
# Tries the real webhook on a real cluster: deploy/admission/webhooks.yaml with `service:` made a URL on this machine, which
# the API server must be able to reach.
#
# Usage: KUBECONFIG=... DEWDROP=target/debug/dewdrop [KUBECTL=kubectl] [ADDRESS=127.0.0.1:18443] crates/kube/tests/webhook.sh
set -u
here=$(cd "$(dirname "$0")" && pwd)
k=${KUBECTL:-kubectl}
address=${ADDRESS:-127.0.0.1:18443}
folder=$(mktemp -d)
tried=0
failed=0
webhook=

judge() { # what, a text that must be heard, what was heard
  tried=$((tried + 1))
  case "$3" in *"$2"*) return ;; esac
  failed=$((failed + 1))
  echo "WRONG: $1: expected $2, and heard: $3"
}

pod() { # $1 name, $2 more attributes, $3 more of the container, $4 more of the spec
  cat <<EOF
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: dd-team}
spec:
  schedulerName: nobody
  ${4:-"terminationGracePeriodSeconds: 0"}
  volumes: [{name: db, csi: {driver: csi.dewdrop.dev, readOnly: true, volumeAttributes: {${2:-} container: app, role: app, credentials: "db = x/y"}}}]
  containers: [{name: app, image: "a:1", ${3:-} volumeMounts: [{name: db, mountPath: /db, readOnly: true}]}]
EOF
}

plain() { # $1 name, $2 more of the container
  cat <<EOF
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: ${ns:-dd-team}}
spec: {schedulerName: nobody, containers: [{name: app, image: "a:1"${2:+, $2}}]}
EOF
}

template() { # A Deployment whose pods would be refused.
  cat <<EOF
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: dd-team}
spec:
  replicas: 0
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      shareProcessNamespace: true
      volumes: [{name: db, csi: {driver: csi.dewdrop.dev, readOnly: true, volumeAttributes: {env: "true", container: app, role: app, credentials: "db = x/y"}}}]
      containers: [{name: app, image: "a:1", volumeMounts: [{name: db, mountPath: /db, readOnly: true}]}]
EOF
}

create() { "$k" create -f - 2>&1; }
command_of() { "$k" get pod "$1" -n dd-team -o jsonpath='{.spec.containers[0].command} {.spec.containers[0].args} {.metadata.annotations.dewdrop\.dev/wrapped}'; }
door() { "$k" create --raw "/api/v1/namespaces/$1/pods/$2/exec?command=ls" -f /dev/null 2>&1; }

start() {
  "$DEWDROP" kube webhook --listen "$address" --names "${address%:*}" --secret dd-system/dewdrop-webhook --exempt kube-system,dd-system \
    --api-server "$server" --api-account "$folder" --exec-image dewdrop-exec:1 --server-address https://dewdrop:8200 >>"$folder/log" 2>&1 &
  webhook=$!
  for i in $(seq 100); do grep -q "the webhook listens" "$folder/log" && return; sleep 0.1; done
  cat "$folder/log"; exit 1
}

setup() {
  server=$("$k" config view --raw --minify -o jsonpath='{.clusters[0].cluster.server}')
  "$k" get configmap kube-root-ca.crt -n default -o jsonpath='{.data.ca\.crt}' >"$folder/ca.crt"
  for ns in dd-system dd-team; do "$k" create namespace "$ns" >/dev/null || exit 1; done
  unset ns
  sed 's|dewdrop-system|dd-system|g' "$here/../../../deploy/admission/rbac.yaml" >"$folder/rbac.yaml"
  "$k" apply -f "$folder/rbac.yaml" >/dev/null || exit 1
  "$k" create token dewdrop-webhook -n dd-system >"$folder/token" || exit 1
  sed "s|service: {.*path: \([^,]*\),.*|url: https://$address\1|; s|dewdrop-system|dd-system|g" \
    "$here/../../../deploy/admission/webhooks.yaml" >"$folder/webhooks.yaml"
  "$k" apply -f "$folder/webhooks.yaml" >/dev/null || exit 1
  start
  # A configuration counts a moment after it was made.
  for i in $(seq 100); do
    heard="$(pod w "env: 'true'," "" "hostPID: true" | "$k" create --dry-run=server -f - 2>&1) $("$k" create token default --audience=dewdrop -n dd-team 2>&1)"
    case "$heard" in *host-namespaces*token-audience*) return ;; esac
    sleep 0.2
  done
  echo "WRONG: the webhook does not count after 20 s: $heard"; exit 1
}

changes() {
  judge "a pod in env mode" created "$(pod env "env: 'true'," 'args: [-v],' | create)"
  judge "its command" '["/db/.dewdrop/exec","--image","--"] ["-v"] app' "$(command_of env)"
  judge "a pod with a gate" created "$(pod gate "gate: 'true'," 'command: [/app],' | create)"
  judge "its command" '["/db/.dewdrop/exec","--","/app"]  app' "$(command_of gate)"
  judge "a pod with variables" created "$(pod vars "variables: 'PGUSER = db.username'," | create)"
  judge "its command" '["/db/.dewdrop/exec","--image","--"]' "$(command_of vars)"
  judge "a pod with files" created "$(pod files | create)"
  judge "its command is none" "  " "$(command_of files)"
  judge "a pod without an agent" created "$(plain agentless 'command: [/app]' |
    sed 's|name: agentless,|name: agentless, annotations: {dewdrop.dev/agentless: "true", dewdrop.dev/role.app: app, dewdrop.dev/credentials.app: "db = x/y"},|' | create)"
  judge "its token" dewdrop://dd-team/app "$("$k" get pod agentless -n dd-team -o jsonpath='{.spec.volumes[*].projected.sources[*].serviceAccountToken.audience}')"
  judge "who copies the wrapper" dewdrop-exec:1 "$("$k" get pod agentless -n dd-team -o jsonpath='{.spec.initContainers[0].image}')"
}

guards() {
  judge "two faults at once" "2 things are to be changed" "$(pod bad "" "" "hostIPC: true
  shareProcessNamespace: true" | create)"
  judge "exec into a pod of ours" "[doors]" "$(door dd-team files)"
  judge "exec into another" created "$(plain other | create)"
  case "$(door dd-team other)" in *dewdrop*) judge "exec into another" allowed "refused" ;; esac
  "$k" label namespace dd-team dewdrop.dev/allow-exec=true >/dev/null
  case "$(door dd-team files)" in *dewdrop*) judge "exec with the label" allowed "refused" ;; esac
  judge "a literal is warned of" "Warning: dewdrop: [literal-secrets]" "$(plain lit 'env: [{name: DB_PASSWORD, value: hunter2}]' | create)"
  "$k" label namespace dd-team dewdrop.dev/literal-secrets=deny >/dev/null
  sleep 1
  judge "a literal is refused" 'variable "DB_PASSWORD" of container "app"' "$(plain lit2 'env: [{name: DB_PASSWORD, value: hunter2}]' | create)"
  judge "a template is told of" "Warning: dewdrop: its pods will be refused: [shared-processes]" "$(template | create)"
  judge "an ephemeral container at whom has secrets" "[ephemeral-target]" "$("$k" debug files -n dd-team --image=a:1 --profile=baseline --target=app 2>&1 </dev/null)"
  case "$("$k" debug files -n dd-team --image=a:1 --profile=baseline 2>&1 </dev/null)" in *dewdrop:*) judge "an ephemeral container" allowed refused ;; esac
  judge "the end of a pod" deleted "$("$k" delete pod files -n dd-team --wait=false 2>&1)"
}

away() {
  kill "$webhook" && wait "$webhook"
  judge "its end" 0 "$?"
  webhook=
  judge "an ordinary pod while it is away" created "$(plain ordinary | create)"
  judge "a pod of ours while it is away" "failed calling webhook" "$(pod ours | create)"
  judge "a pod of ours ends while it is away" deleted "$("$k" delete pod env -n dd-team --wait=false 2>&1)"
  judge "a pod of the exempt namespace" created "$(ns=dd-system; pod own | sed 's/dd-team/dd-system/' | create)"
}

cleanup() {
  [ -n "$webhook" ] && kill "$webhook"
  "$k" delete -f "$folder/webhooks.yaml" >/dev/null 2>&1
  "$k" delete -f "$folder/rbac.yaml" >/dev/null 2>&1
  "$k" delete namespace dd-system dd-team --wait=false >/dev/null 2>&1
  [ "$failed" = 0 ] || tail -20 "$folder/log"
  rm -rf "$folder"
}

trap cleanup EXIT
setup
changes; guards; away
echo "webhook: $tried tried, $failed wrong"
[ "$failed" = 0 ]

#!/bin/sh
# Tries deploy/admission/policies.yaml on a real cluster: each policy must refuse what it is for, and ordinary pods must
# get through. Pods are only asked for (dry run on the server) but for one that no scheduler takes.
#
# Usage: KUBECONFIG=... [KUBECTL=kubectl] crates/kube/tests/policies.sh
set -u
here=$(cd "$(dirname "$0")" && pwd)
k=${KUBECTL:-kubectl}
policies=$here/../../../deploy/admission/policies.yaml
# In files, as what stands behind a pipe has variables of its own.
counts=$(mktemp -d)
: >"$counts/tried"
: >"$counts/wrong"

good() { # The spec of a pod with a volume of ours; $1..$3 are more lines for the volume, the sidecar and the spec.
  cat <<EOF
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: dd-policies}
spec:
  schedulerName: nobody
  ${3:-"terminationGracePeriodSeconds: 0"}
  volumes:
    - name: db
      csi: {driver: csi.dewdrop.dev, readOnly: true, volumeAttributes: {container: app, role: app, credentials: "db = database/creds/app"}}
    ${1:-}
  containers:
    - {name: app, image: "app:1", volumeMounts: [{name: db, mountPath: /db, readOnly: true}]}
    - {name: sidecar, image: "app:1"${2:+, $2}}
EOF
}

plain() { # A pod without a volume of ours; $1 is more of its container, $2 of its spec.
  cat <<EOF
apiVersion: v1
kind: Pod
metadata: {name: plain, namespace: ${ns:-dd-policies}}
spec:
  ${2:-"terminationGracePeriodSeconds: 0"}
  containers: [{name: app, image: "app:1"${1:+, $1}}]
EOF
}

ask() { "$k" create --dry-run=server -o name -f - 2>&1; }

judge() { # what, "allowed" or the name of the rule that must be told, what was said
  echo "$1" >>"$counts/tried"
  case "$2" in
    allowed) case "$3" in *dewdrop:*|*rror*) ;; *) return ;; esac ;;
    *) case "$3" in *"dewdrop: [$2]"*) return ;; esac ;;
  esac
  echo "$1" >>"$counts/wrong"
  echo "WRONG: $1: expected $2, and heard: $3"
}

pod() { judge "$1" "$2" "$(ask)"; }

change() { good | sed "$1"; }

setup() {
  "$k" apply -f "$policies" >/dev/null || exit 1
  for ns in dd-policies dd-open dd-closed dd-strict dd-host; do "$k" create namespace "$ns" >/dev/null || exit 1; done
  "$k" label namespace dd-closed dewdrop.dev/doors=closed >/dev/null
  "$k" label namespace dd-open dewdrop.dev/doors=closed dewdrop.dev/allow-exec=true >/dev/null
  "$k" label namespace dd-strict dewdrop.dev/literal-secrets=deny >/dev/null
  "$k" label namespace dd-host dewdrop.dev/host-paths=deny >/dev/null
  unset ns
  # A policy counts a moment after it was made, each on its own: wait until one rule of each answers.
  for i in $(seq 100); do
    heard="$(good "" "" "hostPID: true" | ask) $("$k" create token default --audience=dewdrop -n dd-policies 2>&1) $(door dd-closed exec) $(ns=dd-strict; plain 'env: [{name: PASSWORD, value: abcd}]' | ask) $(ns=dd-host; plain "" "volumes: [{name: h, hostPath: {path: /var/lib}}]" | ask)"
    case "$heard" in *host-namespaces*token-audience*doors*literal-secrets*host-path*) return ;; esac
    sleep 0.2
  done
  echo "WRONG: the policies do not count after 20 s: $heard"
  exit 1
}

# `kubectl exec` would look for the pod first.
door() { "$k" create --raw "/api/v1/namespaces/$1/pods/nobody/$2?command=ls&ports=80" -f /dev/null 2>&1; }

volumes() {
  good | pod "a good pod" allowed
  change 's/container: app, //' | pod "no container" volume-attributes
  change 's/role: app, //' | pod "no role" volume-attributes
  change 's/"db = database.*"/" "/' | pod "empty credentials" volume-attributes
  change 's/, volumeAttributes: {.*}/}/' | pod "no attributes" volume-attributes
  change 's/container: app/container: nobody/' | pod "an owner that is not there" volume-owner
  change 's/, volumeMounts: .*$/}/' | pod "an owner without a mount" volume-owner
  good "" "volumeMounts: [{name: db, mountPath: /x, readOnly: true}]" | pod "a sidecar's mount" volume-elsewhere
  good "" "" 'initContainers: [{name: i, image: "a:1", volumeMounts: [{name: db, mountPath: /x, readOnly: true}]}]' | pod "an init container's mount" volume-elsewhere
  change 's/csi.dewdrop.dev, readOnly: true/csi.dewdrop.dev/' | pod "a volume to write to" volume-read-only
  change 's|mountPath: /db, readOnly: true|mountPath: /db|' | pod "a mount to write to" volume-read-only
  change 's|mountPath: /db|subPath: db, mountPath: /db|' | pod "a subPath" volume-sub-path
  two='- {name: two, csi: {driver: csi.dewdrop.dev, readOnly: true, volumeAttributes: {container: app, role: app, credentials: "x = y"}}}'
  good "$two" | sed 's|volumeMounts: \[|volumeMounts: [{name: two, mountPath: /two, readOnly: true}, |' | pod "twice the same role" volume-twice
  good "$two" | sed 's|volumeMounts: \[|volumeMounts: [{name: two, mountPath: /two, readOnly: true}, |; s/app, role: app, credentials: "x/app, role: other, credentials: "x/' | pod "two roles" allowed
  change 's/container: app/env: "true", container: app/' | pod "no wrapper" wrapper
  change 's/container: app/variables: "PGUSER = db.username", container: app/' | pod "no wrapper for variables" wrapper
  change 's/container: app/gate: "true", container: app/; s|name: app,|name: app, command: [/db/.dewdrop/exec, --image, --],|' | pod "a wrapper" allowed
  change 's/container: app/gate: "false", container: app/' | pod "no wrapper asked for" allowed
}

tokens() {
  token() { good | sed "s|csi: {.*|projected: {sources: [{serviceAccountToken: {path: token, audience: '$1'}}]}|"; }
  token dewdrop://dd-policies/app | pod "a container's token" allowed
  token dewdrop://dd-policies/sidecar | pod "another container's token" volume-owner
  token dewdrop://other/app | pod "another namespace's token" volume-attributes
  token vault | pod "a token of others" allowed
  judge "a token for us by hand" token-audience "$("$k" create token default --audience=dewdrop -n dd-policies 2>&1)"
  judge "a token for a container by hand" token-audience "$("$k" create token default --audience=dewdrop://x/y -n kube-system 2>&1)"
  judge "a token for others" allowed "$("$k" create token default --audience=vault -n dd-policies 2>&1)"
  judge "a token for the API server" allowed "$("$k" create token default -n dd-policies 2>&1)"
}

sharing() {
  good "" "" "shareProcessNamespace: true" | pod "shared processes" shared-processes
  good "" "" "hostPID: true" | pod "hostPID" host-namespaces
  good "" "" "hostIPC: true" | pod "hostIPC" host-namespaces
  good "" "" "hostNetwork: true" | pod "hostNetwork" allowed
  good "" "securityContext: {privileged: true}" | pod "privileged" privileged
  for name in SYS_PTRACE SYS_ADMIN ALL CAP_BPF DAC_READ_SEARCH PERFMON SYS_MODULE SYS_RAWIO; do good "" "securityContext: {capabilities: {add: [$name]}}" | pod "$name" capabilities; done
  good "" "securityContext: {capabilities: {add: [NET_BIND_SERVICE], drop: [ALL]}}" | pod "NET_BIND_SERVICE" allowed
}

host_paths() {
  ns=dd-host
  for path in / // /var /var/ /var/lib /var//lib /var/lib/kubelet /var/lib/kubelet/pods/x/volumes /var/lib/containerd /var/lib/containers/storage \
    /var/lib/docker/overlay2 /var/lib/rancher/k3s/agent /proc /proc/1/root /run /var/run \
    /run/dewdrop/node /var/run/dewdrop /run/containerd/containerd.sock /var/run/docker.sock /etc /etc/kubernetes/kubelet.conf /./proc /var/./lib; do
    good "- {name: h, hostPath: {path: $path}}" | pod "hostPath $path" host-path
    plain "" "volumes: [{name: h, hostPath: {path: $path}}]" | pod "hostPath $path in a strict namespace" host-path
  done
  for path in /srv/data /var/log /var/lib/kubelet2 /var/lib/docker-data /var/libs /procs /etc/ssl/certs /dev/kvm /run/udev /sys /opt/cni/bin; do
    good "- {name: h, hostPath: {path: $path}}" | pod "hostPath $path" allowed
    plain "" "volumes: [{name: h, hostPath: {path: $path}}]" | pod "hostPath $path in a strict namespace" allowed
  done
  unset ns
  plain "" "volumes: [{name: h, hostPath: {path: /var/lib}}]" | pod "hostPath where nobody looks" allowed
}

literals() {
  for one in "DB_PASSWORD hunter2" "api-token abcdefgh" "AWS_SECRET_ACCESS_KEY abcdefgh" "X AKIAIOSFODNN7EXAMPLE" "URL postgres://app:hunter2@db/app"; do
    set -- $one
    ns=dd-strict; plain "env: [{name: $1, value: '$2'}]" | pod "$1 where it is denied" literal-secrets
    ns=dd-policies; heard=$(plain "env: [{name: $1, value: '$2'}]" | ask)
    judge "$1 is warned of" literal-secrets "$heard"
    case "$heard" in *created*|pod/*|*pod/plain*) ;; *) judge "$1 is let through with a warning" allowed "$heard" ;; esac
    case "$heard" in *"$2"*) judge "the value of $1 is not told" allowed "dewdrop: the value is in: $heard" ;; esac
  done
  ns=dd-strict
  for one in "MODE fast" "TOKEN_TTL 3600" "PASSWORD_FILE /db/x" "ALLOW_EMPTY_PASSWORD yes" "DB_PASSWORD \$(OTHER)" "URL postgres://db/app"; do
    set -- $one
    plain "env: [{name: $1, value: '$2'}]" | pod "$1" allowed
  done
  plain "env: [{name: DB_PASSWORD, valueFrom: {secretKeyRef: {name: s, key: k}}}]" | pod "a reference" allowed
  ns=kube-system
  plain "env: [{name: DB_PASSWORD, value: hunter2}]" | pod "the control plane's own" allowed
  unset ns
}

doors() {
  for door in exec attach portforward; do
    judge "$door into a closed namespace" doors "$(door dd-closed $door)"
    case "$(door dd-open $door)$(door dd-policies $door)" in *dewdrop:*) judge "$door into an open one" allowed "dewdrop: refused" ;; *) echo "$door into an open one" >>"$counts/tried" ;; esac
  done
}

ephemeral() {
  good | "$k" create -f - >/dev/null || exit 1
  debug() { "$k" debug p -n dd-policies --image=app:1 --image-pull-policy=Never --profile=baseline "$@" 2>&1 </dev/null; }
  judge "an ephemeral container at whom has secrets" ephemeral-target "$(debug --target=app)"
  judge "an ephemeral container that may trace" capabilities "$("$k" debug p -n dd-policies --image=app:1 --profile=general --target=sidecar 2>&1 </dev/null)"
  judge "an ephemeral container that mounts" volume-elsewhere "$("$k" get pod p -n dd-policies -o json |
    sed 's|"enableServiceLinks"|"ephemeralContainers": [{"name": "thief", "image": "a:1", "volumeMounts": [{"name": "db", "mountPath": "/x"}]}], "enableServiceLinks"|' |
    "$k" replace --raw /api/v1/namespaces/dd-policies/pods/p/ephemeralcontainers -f - 2>&1)"
  judge "an ephemeral container elsewhere" allowed "$(debug --target=sidecar)"
  judge "a label of a running pod" allowed "$("$k" label pod p -n dd-policies a=b 2>&1)"
  judge "the end of a pod" allowed "$("$k" delete pod p -n dd-policies --wait=false 2>&1)"
}

cleanup() {
  "$k" delete namespace dd-policies dd-open dd-closed dd-strict dd-host --wait=false >/dev/null 2>&1
  "$k" delete -f "$policies" >/dev/null 2>&1
  rm -rf "$counts"
}

trap cleanup EXIT
setup
volumes; tokens; sharing; host_paths; literals; doors; ephemeral
warnings=$("$k" get validatingadmissionpolicies -o jsonpath='{range .items[*]}{.status.typeChecking.expressionWarnings}{end}')
[ -z "$warnings" ] || echo "type checking warns: $warnings"
wrong=$(wc -l <"$counts/wrong")
echo "policies: $(wc -l <"$counts/tried") tried, $wrong wrong"
[ "$wrong" = 0 ]

// A container runtime as far as NRI is concerned: the runtime's own half of containerd, driven by lines on stdin.
// One line in, one line of JSON out. Started by crates/node/tests/nri_peer.rs.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	nri "github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/log"
	"github.com/sirupsen/logrus"
)

type runtime struct {
	adaptation *nri.Adaptation
	socket     string
	// Containers that are told to a plug-in that connects, and how large each of them is.
	count, padding int
	synced         chan error
}

func main() {
	logrus.SetOutput(os.Stderr)
	logrus.SetLevel(logrus.WarnLevel)
	log.Set(quiet{log.Get()})
	r := &runtime{socket: os.Args[1]}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer, err := r.do(strings.Fields(lines.Text()))
		out := map[string]any{"answer": answer}
		if err != nil {
			out = map[string]any{"error": err.Error()}
		}
		text, _ := json.Marshal(out)
		fmt.Println(string(text))
	}
}

func (r *runtime) do(words []string) (any, error) {
	ctx := context.Background()
	switch words[0] {
	case "up": // up COUNT PADDING
		fmt.Sscan(words[1], &r.count)
		fmt.Sscan(words[2], &r.padding)
		return nil, r.up()
	case "synced": // waits until a plug-in is connected
		err := <-r.synced
		// It gets events only once it is in the list, which is within the same lock.
		r.adaptation.BlockPluginSync().Unblock()
		return nil, err
	case "down":
		r.adaptation.Stop()
		return nil, nil
	case "create": // create NAME
		pod, container := about(words[1], 0)
		answer, err := r.adaptation.CreateContainer(ctx, &nri.CreateContainerRequest{Pod: pod, Container: container})
		if err != nil {
			return nil, err
		}
		adjust := answer.GetAdjust()
		return map[string]any{"args": adjust.GetArgs(), "env": adjust.GetEnv(), "mounts": adjust.GetMounts(),
			"annotations": adjust.GetAnnotations()}, nil
	case "start":
		pod, container := about(words[1], 0)
		container.Pid = 4711
		return nil, r.adaptation.PostStartContainer(ctx, &nri.PostStartContainerRequest{Pod: pod, Container: container})
	case "stop":
		pod, container := about(words[1], 0)
		container.ExitCode, container.FinishedAt = 137, 1700000000000000001
		_, err := r.adaptation.StopContainer(ctx, &nri.StopContainerRequest{Pod: pod, Container: container})
		return nil, err
	case "large": // large NAME BYTES: an event of that size
		var size int
		fmt.Sscan(words[2], &size)
		pod, container := about(words[1], size)
		return nil, r.adaptation.PostStartContainer(ctx, &nri.PostStartContainerRequest{Pod: pod, Container: container})
	case "gone":
		pod, _ := about(words[1], 0)
		return nil, r.adaptation.StopPodSandbox(ctx, &nri.StopPodSandboxRequest{Pod: pod})
	}
	return nil, fmt.Errorf("no such word: %s", words[0])
}

func (r *runtime) up() error {
	r.synced = make(chan error, 16)
	synchronize := func(ctx context.Context, tell nri.SyncCB) error {
		var pods []*nri.PodSandbox
		var containers []*nri.Container
		for i := range r.count {
			pod, container := about(fmt.Sprintf("c%d", i), r.padding)
			pods, containers = append(pods, pod), append(containers, container)
		}
		_, err := tell(ctx, pods, containers)
		r.synced <- err
		return err
	}
	update := func(context.Context, []*nri.ContainerUpdate) ([]*nri.ContainerUpdate, error) { return nil, nil }
	none := r.socket + ".none"
	adaptation, err := nri.New("peer", "v1.2.3", synchronize, update,
		nri.WithSocketPath(r.socket), nri.WithPluginPath(none), nri.WithPluginConfigPath(none))
	if err != nil {
		return err
	}
	r.adaptation = adaptation
	if err := adaptation.Start(); err != nil {
		return err
	}
	return <-r.synced // of the plug-ins that it starts itself, of which there are none
}

// A pod and its container.
func about(name string, padding int) (*nri.PodSandbox, *nri.Container) {
	pod := &nri.PodSandbox{
		Id: "sandbox-" + name, Name: "pod-" + name, Uid: "uid-" + name, Namespace: "shop",
		Labels:      map[string]string{"app": "shop"},
		Annotations: map[string]string{"a": "b"},
		Linux:       &nri.LinuxPodSandbox{CgroupParent: "/kubepods/pod" + name},
	}
	container := &nri.Container{
		Id: "id-" + name, PodSandboxId: pod.Id, Name: name, State: nri.ContainerState_CONTAINER_RUNNING,
		Labels:      map[string]string{"io.kubernetes.container.name": name},
		Annotations: map[string]string{"padding": strings.Repeat("x", padding)},
		Args:        []string{"/app", "serve"},
		Env:         []string{"PATH=/bin"},
		Mounts: []*nri.Mount{{
			Destination: "/creds", Type: "bind", Options: []string{"rbind", "ro"},
			Source: "/var/lib/kubelet/pods/" + pod.Uid + "/volumes/kubernetes.io~csi/creds/mount",
		}},
		Linux: &nri.LinuxContainer{CgroupsPath: "/kubepods/pod" + name + "/" + name},
	}
	return pod, container
}

// Says only what went wrong.
type quiet struct{ log.Logger }

func (quiet) Debugf(context.Context, string, ...interface{}) {}
func (quiet) Infof(context.Context, string, ...interface{})  {}

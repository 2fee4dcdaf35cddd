//go:build linux

package nodetest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/integration/env/hops"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/rpc"
)

const (
	// margin is how far back events are asked for: the registry's notification may
	// be on its way before its pusher has the answer.
	margin = time.Second
	// retry is how often Pods are asked for their version.
	retry = 50 * time.Millisecond
	// maxAnswer is how much of an answer is read, in bytes.
	maxAnswer = 64
)

// release is the second half of step 6: an image is pushed, and that is all that anybody does. The
// new version runs because Git says so, in one commit.
func (w *world) release(t *testing.T) {
	t.Helper()
	w.shell.run(t, w.block(t, release, 1, "tandem watch &", "tandem watch >watch.log &", "docker push ghcr.io/acme/shop:1.0.1\n", ""))
	before := w.commits(t)
	digest := w.push(t, hello("1.0.1"))
	r := hops.New(w.images+"/"+image+":1.0.1", digest, time.Now())
	answered := w.checkAnswers(t, "1.0.1")
	w.follow(t, r)
	var table strings.Builder
	r.Write(&table)
	t.Logf("\n%s%d Pods answer HTTP with the new version after %s", table.String(), replicas, answered.Sub(r.Pushed).Round(time.Millisecond))
	w.checkManifest(t, "1.0.1", digest)
	if after := w.commits(t); after != before+1 {
		t.Errorf("Git has %d commits after %d, want one for the release", after, before)
	}
}

// follow reads the release's events from the automator, as Ann.
func (w *world) follow(t *testing.T, r *hops.Release) {
	t.Helper()
	config, err := rpc.TLSFiles{CA: w.work("tandem-ca", "ca.crt"), Cert: w.work("ann", "ann.crt"), Key: w.work("ann", "ann.key")}.Client("localhost")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := rpc.Dial(w.automator, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errSlow)
	defer cancel()
	filter := &statusv1.EventFilter{Since: timestamppb.New(r.Pushed.Add(-margin))}
	stream, err := statusv1.NewStatusServiceClient(conn).WatchEvents(ctx, &statusv1.WatchEventsRequest{Filter: filter})
	if err != nil {
		t.Fatal(err)
	}
	for events := []*statusv1.Event(nil); !r.Read(events); {
		response, err := stream.Recv()
		if err != nil {
			t.Fatalf("events of the release: %v, after %v", err, events)
		}
		events = append(events, response.GetEvent())
	}
}

// until asks again until the answer is nil, and returns when that was.
func until(t *testing.T, what string, ask func(context.Context) error) time.Time {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errSlow)
	defer cancel()
	for {
		err := ask(ctx)
		at := time.Now()
		if err == nil {
			t.Log(what)
			return at
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v: %v", what, context.Cause(ctx), err)
		case <-time.After(retry):
		}
	}
}

// checkAnswers waits until every Pod of the application, and no other, answers
// with a version. It returns when that was.
func (w *world) checkAnswers(t *testing.T, version string) time.Time {
	t.Helper()
	what := fmt.Sprintf("%d Pods answer %s", replicas, version)
	return until(t, what, func(ctx context.Context) error { return w.answer(ctx, version) })
}

// checkManifest waits until Git says that a version is to run, by its digest.
func (w *world) checkManifest(t *testing.T, version, digest string) {
	t.Helper()
	want := w.images + "/" + image + ":" + version + "@" + digest
	until(t, "Git says "+want, func(ctx context.Context) error {
		manifest, err := w.git.File(ctx, repository, "refs/heads/main", "env/dev/deployment.yaml")
		if err == nil && !strings.Contains(manifest, want) {
			err = fmt.Errorf("it says:\n%s", manifest)
		}
		return err
	})
}

func (w *world) answer(ctx context.Context, version string) error {
	pods, err := w.client.CoreV1().Pods(app).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		return err
	}
	if len(pods.Items) != replicas {
		return fmt.Errorf("%d Pods, want %d", len(pods.Items), replicas)
	}
	for i := range pods.Items {
		if err := w.answerOf(ctx, &pods.Items[i], version); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) answerOf(ctx context.Context, pod *corev1.Pod, version string) error {
	if pod.Status.PodIP == "" {
		return fmt.Errorf("Pod %s is %s", pod.Name, pod.Status.Phase)
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: w.node.Dial, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(pod.Status.PodIP, "8080"), http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(said)); got != version {
		return fmt.Errorf("Pod %s answers %q", pod.Name, got)
	}
	return nil
}

// commits counts those of the branch.
func (w *world) commits(t *testing.T) int {
	t.Helper()
	log, err := w.git.Log(t.Context(), repository, "refs/heads/main")
	if err != nil {
		t.Fatal(err)
	}
	return len(log)
}

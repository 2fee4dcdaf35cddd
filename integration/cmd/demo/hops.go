package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/integration/env/registry"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/revision"
)

const (
	// replicas of the sample's Deployment.
	replicas = 2
	// checkTimeout bounds how long Pods of the version before may linger.
	checkTimeout = 30 * time.Second
	// margin is how far back events are asked for: the registry's notification may
	// be on its way before its pusher has the answer.
	margin = time.Second
)

var errOther = errors.New("the cluster runs something else")

// hop is a point that a release reaches.
type hop struct {
	name  string
	state statusv1.EventState
	what  string
}

// hops are the points in order.
func hops() []hop {
	return []hop{
		{"detected", statusv1.EventState_EVENT_STATE_DETECTED, "the automator heard of the tag, asked the registry for its digest, and the policy chose it"},
		{"committed", statusv1.EventState_EVENT_STATE_COMMITTED, "one line changed, signed, pushed; the Git server has accepted it"},
		{"announced", statusv1.EventState_EVENT_STATE_ANNOUNCED, "the automator told the cluster that its folder has other content"},
		{"received", statusv1.EventState_EVENT_STATE_RECEIVED, "every object arrived, and hashes to its name"},
		{"verified", statusv1.EventState_EVENT_STATE_VERIFIED, "signed by a key that may change images, and only an image changed"},
		{"applied", statusv1.EventState_EVENT_STATE_APPLIED, "the API server has every object"},
		{"healthy", statusv1.EventState_EVENT_STATE_HEALTHY, "the rollout is complete"},
	}
}

// result is what -o json prints.
type result struct {
	Image  string             `json:"image"`
	Digest string             `json:"digest"`
	Commit string             `json:"commit"`
	HopsMS map[string]float64 `json:"hops_ms"`
	Total  float64            `json:"total_ms"`
}

// follow waits until the pushed image is healthy, and tells when it came where.
func (d *demo) follow(ctx context.Context, pushed registry.Pushed) (*result, error) {
	r := &result{Image: pushed.Repository + ":" + pushed.Tag, Digest: pushed.Digest, HopsMS: map[string]float64{}}
	filter := &statusv1.EventFilter{Since: timestamppb.New(pushed.At.Add(-margin))}
	_, err := d.world.WaitEvents(ctx, filter, func(events []*statusv1.Event) bool { return r.read(events, pushed) })
	return r, err
}

// read takes the hops from events, and tells whether all are there. It starts
// from what is about the digest, and goes on with what is about its commit.
func (r *result) read(events []*statusv1.Event, pushed registry.Pushed) bool {
	for _, event := range events {
		if event.GetState() == statusv1.EventState_EVENT_STATE_COMMITTED && names(event, pushed.Digest) {
			r.Commit = commitOf(event)
		}
	}
	if r.Commit == "" {
		return false
	}
	for _, h := range hops() {
		for _, event := range events {
			about := names(event, pushed.Digest) && event.GetCluster() == "" || commitOf(event) == r.Commit
			if event.GetState() != h.state || !about {
				continue
			}
			if _, known := r.HopsMS[h.name]; !known {
				r.HopsMS[h.name] = since(pushed.At, event.GetTime().AsTime())
			}
		}
	}
	r.Total = r.HopsMS["healthy"]
	return len(r.HopsMS) == len(hops())
}

func names(event *statusv1.Event, digest string) bool {
	for _, image := range event.GetImages() {
		if image.GetDigest() == digest {
			return true
		}
	}
	return false
}

func commitOf(event *statusv1.Event) string {
	id, err := revision.ObjectFromProto(event.GetRevision().GetCommit())
	if err != nil || id.IsZero() {
		return ""
	}
	return id.String()
}

// since is in milliseconds. A registry notifies while it answers, so what follows
// can begin before its pusher knows; that counts as at once.
func since(start, at time.Time) float64 {
	const tenth = 10
	ms := float64(at.Sub(start).Microseconds()) / 1000
	return math.Max(0, math.Round(ms*tenth)/tenth)
}

// check asks the API server whether the Pods run the digest, and waits for the
// former ones to go. Nothing that Tandem says counts here.
func (d *demo) check(ctx context.Context, digest string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, checkTimeout, errOther)
	defer cancel()
	pods := d.world.Kubernetes().CoreV1().Pods(d.world.Sites[site].Namespace)
	watch, err := pods.Watch(ctx, metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		return err
	}
	defer watch.Stop()
	for {
		list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil {
			return err
		}
		other := different(list.Items, digest)
		if other == "" {
			d.out.say("The API server says the same: %d Pods are ready and run %s.", replicas, digest)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", context.Cause(ctx), other)
		case <-watch.ResultChan():
		}
	}
}

// different says what is not the wanted number of ready Pods of a digest; empty
// when all is as it should be.
func different(pods []corev1.Pod, digest string) string {
	ready := 0
	for i := range pods {
		pod := &pods[i]
		for _, status := range pod.Status.ContainerStatuses {
			if !strings.HasSuffix(status.ImageID, digest) {
				return fmt.Sprintf("Pod %s runs %q", pod.Name, status.ImageID)
			}
			if status.Ready {
				ready++
			}
		}
	}
	if ready != replicas || len(pods) != replicas {
		return fmt.Sprintf("%d Pods, %d ready, want %d", len(pods), ready, replicas)
	}
	return ""
}

// print ends a release: the table, or the JSON object.
func (d *demo) print(ctx context.Context, r *result) error {
	var table strings.Builder
	writeTable(&table, r)
	d.out.show("\n" + table.String())
	d.out.say("Commit %.12s, %s after the registry acknowledged the push.", r.Commit, time.Duration(r.Total*float64(time.Millisecond)).Round(time.Millisecond))
	if d.opts.format != formatJSON || ctx.Err() != nil {
		return ctx.Err()
	}
	return json.NewEncoder(d.results).Encode(r)
}

// writeTable shows when the release came where, and how long it took from the
// point before.
func writeTable(out io.Writer, r *result) {
	const row = "%-10s %8s %8s   %s\n"
	fmt.Fprintf(out, row, "HOP", "AT ms", "+ ms", "WHAT")
	fmt.Fprintf(out, row, "pushed", "0.0", "", "the registry acknowledged "+r.Image)
	before := 0.0
	for _, h := range hops() {
		at := r.HopsMS[h.name]
		fmt.Fprintf(out, row, h.name, fmt.Sprintf("%.1f", at), fmt.Sprintf("%.1f", at-before), h.what)
		before = at
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/integration/env/hops"
	"github.com/tandem-cd/tandem/integration/env/registry"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
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

// follow waits until the pushed image is healthy, and tells when it came where.
func (d *demo) follow(ctx context.Context, pushed registry.Pushed) (*hops.Release, error) {
	r := hops.New(pushed.Repository+":"+pushed.Tag, pushed.Digest, pushed.At)
	filter := &statusv1.EventFilter{Since: timestamppb.New(pushed.At.Add(-margin))}
	_, err := d.world.WaitEvents(ctx, filter, r.Read)
	return r, err
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
func (d *demo) print(ctx context.Context, r *hops.Release) error {
	var table strings.Builder
	r.Write(&table)
	d.out.show("\n" + table.String())
	d.out.say("Commit %.12s, %s after the registry acknowledged the push.", r.Commit, time.Duration(r.Total*float64(time.Millisecond)).Round(time.Millisecond))
	if d.opts.format != formatJSON || ctx.Err() != nil {
		return ctx.Err()
	}
	return json.NewEncoder(d.results).Encode(r)
}

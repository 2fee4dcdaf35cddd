// Package hops reads from the automator's events how long a release took to come
// where: from the registry's acknowledgement of an image to a rollout that is
// complete.
package hops

import (
	"fmt"
	"io"
	"math"
	"time"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/revision"
)

// Healthy is the name of the last hop.
const Healthy = "healthy"

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
		{Healthy, statusv1.EventState_EVENT_STATE_HEALTHY, "the rollout is complete"},
	}
}

// Release is an image on its way. Its JSON is what the demo prints.
type Release struct {
	Image  string `json:"image"`
	Digest string `json:"digest"`
	// Commit is the automator's, once it is there.
	Commit string `json:"commit"`
	// HopsMS says how many milliseconds after the push each hop was reached.
	HopsMS map[string]float64 `json:"hops_ms"`
	Total  float64            `json:"total_ms"`

	// Pushed is when the registry acknowledged the image.
	Pushed time.Time `json:"-"`
}

// New is an image that the registry has acknowledged at a time.
func New(image, digest string, pushed time.Time) *Release {
	return &Release{Image: image, Digest: digest, HopsMS: map[string]float64{}, Pushed: pushed}
}

// Read takes the hops from events, and tells whether all are there. It starts
// from what is about the digest, and goes on with what is about its commit.
func (r *Release) Read(events []*statusv1.Event) bool {
	for _, event := range events {
		if event.GetState() == statusv1.EventState_EVENT_STATE_COMMITTED && names(event, r.Digest) {
			r.Commit = commitOf(event)
		}
	}
	if r.Commit == "" {
		return false
	}
	for _, h := range hops() {
		for _, event := range events {
			about := names(event, r.Digest) && event.GetCluster() == "" || commitOf(event) == r.Commit
			if event.GetState() != h.state || !about {
				continue
			}
			if _, known := r.HopsMS[h.name]; !known {
				r.HopsMS[h.name] = since(r.Pushed, event.GetTime().AsTime())
			}
		}
	}
	r.Total = r.HopsMS[Healthy]
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

// Write shows when the release came where, and how long it took from the point
// before.
func (r *Release) Write(out io.Writer) {
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

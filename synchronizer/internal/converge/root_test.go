package converge

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// based renders env and may read base; swapped is the other way round, which is the same tree.
func based(s *v1alpha1.Sync)   { s.Spec.Path, s.Spec.Include = "env", []string{"base"} }
func swapped(s *v1alpha1.Sync) { s.Spec.Path, s.Spec.Include = "base", []string{"env"} }

// appliesAndRemovals are what was done but for status.
func appliesAndRemovals(w *world) []string {
	return slices.DeleteFunc(w.took(), func(did string) bool { return strings.HasPrefix(did, "status") })
}

func TestAnotherFolderOfTheSameContentIsRendered(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		want := []string{"Received/1", "Verified/1", "Applied/1", "Healthy/1", "Pruned/0"}
		w.run(func() {
			w.sync(based)
			w.deliver(w.commit("one", "a", "base-a"))
			w.pass(time.Second)
			same(t, "applied at first", appliesAndRemovals(w), []string{"apply a"})
			w.told()
			w.sync(swapped)
			w.pass(time.Second)
			same(t, "did when they were swapped", appliesAndRemovals(w), []string{"apply base-a", "remove a"})
			same(t, "told", w.told(), want)
		})
		w.run(func() {
			w.pass(time.Minute)
			same(t, "did after a restart", w.took(), []string{})
		})
		based(w.resources["web"])
		w.resources["web"].Generation++
		w.run(func() {
			w.pass(time.Second)
			same(t, "did when they were swapped back meanwhile", appliesAndRemovals(w), []string{"apply a", "remove base-a"})
		})
	})
}

// A status of a version that did not write down which folder it speaks about speaks about the one that there is: an upgrade
// writes nothing.
func TestAStatusThatNamesNoFolder(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(based)
			w.deliver(w.commit("one", "a", "base-a"))
			w.pass(time.Second)
		})
		w.took()
		w.resources["web"].Status.RenderedPath = ""
		w.run(func() {
			w.pass(time.Hour)
			same(t, "did", w.took(), []string{})
			w.sync(swapped)
			w.pass(time.Second)
			same(t, "did when they were swapped", appliesAndRemovals(w), []string{"apply base-a", "remove a"})
		})
	})
}

// Consent to remove what is gone from one folder is none to remove that folder.
func TestConsentIsForOneFolder(t *testing.T) {
	t.Parallel()
	s := &v1alpha1.Sync{}
	based(s)
	s.Annotations = map[string]string{v1alpha1.AnnotationAllowPrune: s.PruneConsent("content")}
	if !s.AllowsPrune("content") || s.AllowsPrune("other") {
		t.Error("consent is not for the content that it was given for")
	}
	s.Spec.Path = "./env/"
	if !s.AllowsPrune("content") {
		t.Error("consent ends when the same folder is written otherwise")
	}
	swapped(s)
	if s.AllowsPrune("content") {
		t.Error("consent holds for another folder of the same content")
	}
}

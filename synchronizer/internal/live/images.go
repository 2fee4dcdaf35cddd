package live

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/shared/imageref"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// Image is an image that pods of a workload run.
type Image struct {
	Repository string // canonical, with the registry
	Tag        string // as the pod's specification says; empty for none
	Digest     string // as the node reports it; empty while it does not
	Workload   object.Key
	Pods       int // how many run it
	Ready      int // in how many of them the container is ready
}

// Images returns what the pods of a Sync's workloads run, in order. A pod that
// has ended or is being deleted does not count.
func (s *Store) Images(label string) []Image {
	s.mu.RLock()
	defer s.mu.RUnlock()
	images := map[Image]*Image{}
	for _, p := range s.pods {
		for owner, pods := range p.of {
			if _, of := s.manages([]object.Key{owner}); of != label {
				continue
			}
			for _, pod := range pods {
				for _, i := range pod.images {
					count(images, i.image(owner), i.ready)
				}
			}
		}
	}
	list := make([]Image, 0, len(images))
	for _, image := range images {
		list = append(list, *image)
	}
	slices.SortFunc(list, compareImages)
	return list
}

func count(images map[Image]*Image, image Image, ready bool) {
	counted := images[image]
	if counted == nil {
		counted = &image
		images[image] = counted
	}
	counted.Pods++
	if ready {
		counted.Ready++
	}
}

func compareImages(a, b Image) int {
	return cmp.Or(a.Workload.Compare(b.Workload), cmp.Compare(a.Repository, b.Repository),
		cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Digest, b.Digest))
}

// pod is what is kept of a pod.
type pod struct {
	owner  object.Key
	images []podImage
}

// podImage is what a container runs. Replicas share the texts.
type podImage struct {
	written unique.Handle[string] // in the specification
	pulled  unique.Handle[string] // as the node names it
	ready   bool
}

func (p *pod) same(images []podImage) bool { return slices.Equal(p.images, images) }

func (i podImage) image(workload object.Key) Image {
	written := i.written.Value()
	image := Image{Repository: written, Workload: workload}
	if ref, err := imageref.Parse(written); err == nil {
		image.Repository, image.Tag, image.Digest = ref.Name(), ref.Tag, ref.Digest
	}
	// A bare digest is that of an image's configuration: some runtimes report it
	// for images that came from no registry. It is no digest of a manifest.
	if _, digest, ok := strings.Cut(i.pulled.Value(), "@"); ok {
		image.Digest = digest
	}
	return image
}

// arrival is a pod as it comes, before anybody knows whether it is kept.
type arrival struct {
	standIn
	owners []object.Key
	images []podImage
}

func arrivalOf(obj any) (arrival, error) {
	switch obj := obj.(type) {
	case arrival:
		return obj, nil
	case *unstructured.Unstructured:
		at := id{unique.Make(obj.GetNamespace()), obj.GetName()}
		a := arrival{standIn: newStandIn(at, obj.GetResourceVersion()), owners: owners(obj)}
		if phase, _, _ := unstructured.NestedString(obj.Object, "status", "phase"); phase != "Succeeded" && phase != "Failed" && obj.GetDeletionTimestamp() == nil {
			a.images = podImages(obj)
		}
		return a, nil
	default:
		return arrival{}, fmt.Errorf("%T is no pod", obj)
	}
}

// owners are the workloads that a pod may belong to, the likeliest first. A
// Deployment's pods are owned by a ReplicaSet named after it and the hash of
// the pod's template, a CronJob's by a Job named after it and the time.
func owners(pod *unstructured.Unstructured) []object.Key {
	owner := metav1.GetControllerOfNoCopy(pod)
	key := object.Key{Kind: "Pod", Namespace: pod.GetNamespace(), Name: pod.GetName()}
	if owner == nil {
		return []object.Key{key}
	}
	version, err := schema.ParseGroupVersion(owner.APIVersion)
	if err != nil {
		return nil
	}
	key.Group, key.Kind, key.Name = version.Group, owner.Kind, owner.Name
	above := key
	switch version.WithKind(owner.Kind).GroupKind() {
	case schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}:
		above.Kind, above.Name = "Deployment", before(owner.Name, text(pod, "labels", "pod-template-hash"))
	case schema.GroupKind{Group: "batch", Kind: "Job"}:
		above.Kind, above.Name = "CronJob", before(owner.Name, owner.Name[strings.LastIndexByte(owner.Name, '-')+1:])
	}
	if above.Name == owner.Name {
		return []object.Key{key}
	}
	return []object.Key{above, key}
}

// before returns what stands before a suffix that a controller added to its own
// name; the whole name when there is none.
func before(name, suffix string) string {
	above, ok := strings.CutSuffix(name, "-"+suffix)
	if !ok || suffix == "" {
		return name
	}
	return above
}

func podImages(pod *unstructured.Unstructured) []podImage {
	pulled := map[string]podImage{}
	for _, field := range []string{"initContainerStatuses", "containerStatuses"} {
		for status := range containers(pod, "status", field) {
			name, _ := status["name"].(string)
			imageID, _ := status["imageID"].(string)
			ready, _ := status["ready"].(bool)
			pulled[name] = podImage{pulled: unique.Make(imageID), ready: ready}
		}
	}
	var images []podImage
	for _, field := range []string{"initContainers", "containers"} {
		for container := range containers(pod, "spec", field) {
			name, _ := container["name"].(string)
			image, _ := container["image"].(string)
			running, started := pulled[name]
			if !started {
				running.pulled = unique.Make("")
			}
			running.written = unique.Make(image)
			images = append(images, running)
		}
	}
	return images
}

func containers(pod *unstructured.Unstructured, part, field string) func(yield func(map[string]any) bool) {
	fields, _ := pod.Object[part].(map[string]any)
	list, _ := fields[field].([]any)
	return func(yield func(map[string]any) bool) {
		for _, item := range list {
			if container, ok := item.(map[string]any); ok && !yield(container) {
				return
			}
		}
	}
}

package simnode

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
)

// pullError is the first image of a Pod that could not be had.
type pullError struct {
	image string
	err   error
}

func (e *pullError) Error() string { return fmt.Sprintf("pull %q: %v", e.image, e.err) }

func (e *pullError) Unwrap() error { return e.err }

// pull finds the imageID of every container, by the container's name. With an
// error, those found before it are there.
func (n *Node) pull(ctx context.Context, pod *corev1.Pod) (map[string]string, error) {
	ids := started(pod)
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range containers {
			if ids[c.Name] != "" {
				continue
			}
			id, err := n.imageID(ctx, c.Image)
			if err != nil {
				return ids, &pullError{image: c.Image, err: err}
			}
			ids[c.Name] = id
		}
	}
	return ids, nil
}

// started is what containers run already: a tag that moves later changes
// nothing for them. One whose image was replaced in the Pod starts anew.
func started(pod *corev1.Pod) map[string]string {
	wanted, ids := map[string]string{}, map[string]string{}
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range containers {
			wanted[c.Name] = c.Image
		}
	}
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, s := range statuses {
			if wanted[s.Name] == s.Image && s.ImageID != "" {
				ids[s.Name] = s.ImageID
			}
		}
	}
	return ids
}

// imageID is repository@digest. An image named by its digest is looked up once,
// since it cannot become another.
func (n *Node) imageID(ctx context.Context, image string) (string, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return "", err
	}
	repository := strings.Replace(ref.Context().Name(), name.DefaultRegistry, "docker.io", 1)
	pinned, isPinned := ref.(name.Digest)
	if isPinned && (n.cfg.Resolve == nil || n.pulled(image)) {
		return repository + "@" + pinned.DigestStr(), nil
	}
	if n.cfg.Resolve == nil {
		made := sha256.Sum256([]byte(image))
		return repository + "@sha256:" + hex.EncodeToString(made[:]), nil
	}
	digest, err := n.cfg.Resolve(ctx, image)
	if err != nil {
		return "", err
	}
	if isPinned {
		n.keep(image)
	}
	return repository + "@" + digest, nil
}

func (n *Node) pulled(image string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.images[image]
}

func (n *Node) keep(image string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.images[image] = true
}

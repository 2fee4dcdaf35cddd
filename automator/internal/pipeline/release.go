package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// Pin is an image as it is written: a tag for people and a digest for machines.
type Pin struct {
	Tag    string
	Digest string
}

// String returns "1.4.2@sha256:0123456789ab", the digest cut to what a person
// compares.
func (p Pin) String() string {
	const most = len("sha256:") + 12
	digest := p.Digest[:min(len(p.Digest), most)]
	if p.Tag == "" || digest == "" {
		return p.Tag + digest
	}
	return p.Tag + "@" + digest
}

// ReleaseImage is an image of a release.
type ReleaseImage struct {
	Name       string
	Repository string // canonical: imageref.Reference.Name
	Pin
}

// Release is a set of images that goes through the environments together.
type Release []ReleaseImage

// ID identifies a release by what it runs: the first 12 hex digits of the SHA-256
// of the sorted lines "name=repository@digest". Tags are no part of it.
func (r Release) ID() string {
	lines := make([]string, 0, len(r))
	for _, image := range r {
		lines = append(lines, image.Name+"="+image.Repository+"@"+image.Digest)
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])[:12]
}

// ReleaseAt returns what runs at an environment. ok is false if an image is there
// with two values or without a digest, so that no release can be named; images
// that are not there at all are no part of it.
func (p *Pipeline) ReleaseAt(observed Observed) (release Release, ok bool) {
	for _, image := range p.Images {
		pins := observed.Images[image.Name].Pins
		if len(pins) == 0 {
			continue
		}
		if len(pins) > 1 || pins[0].Digest == "" {
			return nil, false
		}
		release = append(release, ReleaseImage{Name: image.Name, Repository: image.Repository.Name(), Pin: pins[0]})
	}
	return release, len(release) > 0
}

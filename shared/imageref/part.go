package imageref

import (
	"errors"
	"fmt"
	"strings"
)

// Part is what a position holds of an image.
type Part uint8

const (
	// Whole is a reference: "ghcr.io/acme/api:1.4.0@sha256:...".
	Whole Part = iota
	// Tag is "1.4.0"; with a digest behind it, "1.4.0@sha256:...", where the file
	// has no place for the digest: see [Position.Joined].
	Tag
	// Digest is "sha256:...".
	Digest
	// Hex is a SHA-256 digest without its algorithm.
	Hex
	// Name is the repository, which is read and never changed: no position has it.
	Name
)

func (p Part) String() string {
	switch p {
	case Tag:
		return "tag"
	case Digest, Hex:
		return "digest"
	case Name:
		return "name"
	case Whole:
	}
	return "image"
}

// Text is what a position holds once its image has a tag and a digest.
func (p Position) Text(tag, digest string) (string, error) {
	text := ""
	switch p.Part {
	case Whole:
		ref, err := p.Image.Pin(tag, digest)
		return ref.String(), err
	case Tag:
		text = tag
		if p.Joined && digest != "" {
			text += "@" + digest
		}
	case Digest:
		text = digest
	case Name:
	case Hex:
		hex, ok := strings.CutPrefix(digest, "sha256:")
		if !ok {
			return "", fmt.Errorf("%s is no SHA-256 digest, and there is room for nothing else", quote(digest))
		}
		text = hex
	}
	_, err := p.read(text)
	return text, err
}

// read returns the image that a position's file has once the position holds a text.
func (p Position) read(text string) (Reference, error) {
	image := p.Image
	switch p.Part {
	case Whole:
		return Parse(text)
	case Tag:
		tag, digest, joined := strings.Cut(text, "@")
		switch {
		case joined && !p.Joined:
			return Reference{}, errors.New("the digest has a place of its own")
		case joined && !digestPattern.MatchString(digest):
			return Reference{}, fmt.Errorf("%s is not a digest", quote(digest))
		case len(tag) > maxTagLength || !tagPattern.MatchString(tag):
			return Reference{}, fmt.Errorf("%s is not a tag", quote(tag))
		}
		image.Tag = tag
		if p.Joined {
			image.Digest = digest
		}
		return image, nil
	case Hex:
		text = "sha256:" + text
	case Digest:
	case Name:
		return Reference{}, errors.New("the repository is not to be changed")
	}
	if !digestPattern.MatchString(text) {
		return Reference{}, fmt.Errorf("%s is not a digest", quote(text))
	}
	image.Digest = text
	return image, nil
}

// joinTag gives an image the tag that a file has, with the digest behind it if
// there is no other place for it.
func joinTag(image Reference, text string, digestApart bool) Reference {
	image.Tag = text
	if !digestApart {
		image.Tag, image.Digest, _ = strings.Cut(text, "@")
	}
	return image
}

// may tells whether a position may hold an image that it is to get.
func (p Position) may(became Reference) error {
	if p.Fixed && became.Repository != p.Image.Repository {
		return fmt.Errorf("the repository %s became %s, and only its versions are to be changed here", p.Image.Name(), became.Name())
	}
	return nil
}

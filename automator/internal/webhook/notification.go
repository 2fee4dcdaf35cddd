package webhook

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/tandem-cd/tandem/shared/imageref"
)

// notice is a push of a tag, as a registry tells it; or of a manifest without one, which may refer to an image.
type notice struct{ host, repository, tag string }

// mayRefer tells whether a manifest of a type can refer to an image, as a signature does.
func mayRefer(mediaType string) bool {
	return mediaType == "application/vnd.oci.image.manifest.v1+json"
}

// envelope is what is read of a notification; there is more in it.
type envelope struct {
	Events *[]struct {
		Action string `json:"action"`
		Target struct {
			Repository string `json:"repository"`
			Tag        string `json:"tag"`
			MediaType  string `json:"mediaType"`
			URL        string `json:"url"`
		} `json:"target"`
		Request struct {
			Host string `json:"host"`
		} `json:"request"`
	} `json:"events"`
}

// parse returns the pushes in a notification. Events of other kinds, and of layers, are passed over.
func parse(body []byte) ([]notice, error) {
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, describe(err)
	}
	if e.Events == nil {
		return nil, errors.New(`the body has no "events"`)
	}
	var notices []notice
	for _, event := range *e.Events {
		if event.Action != "push" || event.Target.Tag == "" && !mayRefer(event.Target.MediaType) {
			continue
		}
		n := notice{host: event.Request.Host, repository: event.Target.Repository, tag: event.Target.Tag}
		if n.host == "" {
			if u, err := url.Parse(event.Target.URL); err == nil {
				n.host = u.Host
			}
		}
		notices = append(notices, n)
	}
	return notices, nil
}

func describe(err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("the body is not JSON: byte %d is not what should stand there", syntax.Offset)
	}
	if mistyped, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("the body is not a notification: %q is a %s", mistyped.Field, mistyped.Value)
	}
	return errors.New("the body is not JSON")
}

// locate returns the image repository of a notice as pipelines name it; false when no pipeline could.
func (n notice) locate(hosts map[string]string) (repository string, ok bool) {
	host := strings.ToLower(n.host)
	if mapped, ok := hosts[host]; ok {
		host = mapped
	}
	tag := cmp.Or(n.tag, "none")
	ref, err := imageref.Parse(host + "/" + n.repository + ":" + tag)
	if err != nil || ref.Digest != "" || ref.Tag != tag {
		return "", false
	}
	// A host without a dot or a port reads as a part of a Docker Hub name. Such a registry has to be mapped.
	if ref.Registry != host && (host != "docker.io" || ref.Registry != imageref.DefaultRegistry) {
		return "", false
	}
	return ref.Name(), true
}

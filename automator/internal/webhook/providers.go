package webhook

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// provider is a kind of registry or event source.
type provider struct {
	name string
	// parse returns the tags that a notification says were pushed, none for other events.
	parse func(body []byte) ([]notice, error)
	// query lets the secret stand in the address, for services that can send nothing but a body.
	query bool
	// sha1 lets the body be signed with HMAC-SHA1.
	sha1 bool
	// google lets the caller send a token of a service account of Google.
	google bool
}

// providers are all kinds, by the last part of their path below /hooks/.
func providers() []provider {
	return []provider{
		{name: "registry", parse: parse}, // CNCF Distribution
		{name: "distribution", parse: parse},
		{name: "gitlab", parse: parse}, // its registry is one of these
		{name: "dockerhub", parse: parseDockerHub, query: true},
		{name: "github", parse: parseGitHub},
		{name: "harbor", parse: parseHarbor},
		{name: "quay", parse: parseQuay, query: true},
		{name: "ecr", parse: parseECR},
		{name: "gar", parse: parsePubSub, query: true, google: true},
		{name: "gcr", parse: parsePubSub, query: true, google: true},
		{name: "acr", parse: parseACR},
		{name: "artifactory", parse: parseArtifactory},
		{name: "nexus", parse: parseNexus, sha1: true},
		{name: "cdevents", parse: parseCDEvents},
		{name: "generic", parse: parseGeneric},
	}
}

// decode reads a body; what it says besides is of no concern.
func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return describe(err)
	}
	return nil
}

// image takes an image with its registry apart: "ghcr.io/acme/api:1.0". A digest says nothing about a tag.
func image(text string) (notice, bool) {
	host, rest, ok := strings.Cut(text, "/")
	colon := strings.LastIndex(rest, ":")
	if !ok || colon < 0 || strings.Contains(rest[colon:], "/") || strings.Contains(rest, "@") {
		return notice{}, false
	}
	return notice{host: host, repository: rest[:colon], tag: rest[colon+1:]}, true
}

func one(n notice) []notice {
	if n.repository == "" || n.tag == "" {
		return nil
	}
	return []notice{n}
}

// untagged is one notice, of a push without a tag too.
func untagged(n notice) []notice {
	if n.repository == "" {
		return nil
	}
	return []notice{n}
}

// withoutTag is the notice of a push by digest to a repository with its registry.
func withoutTag(name string) []notice {
	host, repository, _ := strings.Cut(name, "/")
	return untagged(notice{host: host, repository: repository})
}

func parseDockerHub(body []byte) ([]notice, error) {
	var e struct {
		PushData struct {
			Tag string `json:"tag"`
		} `json:"push_data"`
		Repository struct {
			Name string `json:"repo_name"`
		} `json:"repository"`
	}
	if err := decode(body, &e); err != nil {
		return nil, err
	}
	return one(notice{host: "docker.io", repository: e.Repository.Name, tag: e.PushData.Tag}), nil
}

// gitHubPackage is a package in events of both names, package and registry_package.
type gitHubPackage struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Version   struct {
		Container struct {
			Tag struct {
				Name string `json:"name"`
			} `json:"tag"`
		} `json:"container_metadata"`
	} `json:"package_version"`
}

func parseGitHub(body []byte) ([]notice, error) {
	var e struct {
		Package  *gitHubPackage `json:"package"`
		Registry *gitHubPackage `json:"registry_package"`
	}
	if err := decode(body, &e); err != nil {
		return nil, err
	}
	p := e.Registry
	if p == nil {
		p = e.Package
	}
	if p == nil || p.Namespace == "" {
		return nil, nil // a ping, or another event
	}
	return untagged(notice{host: "ghcr.io", repository: strings.ToLower(p.Namespace + "/" + p.Name), tag: p.Version.Container.Tag.Name}), nil
}

func parseHarbor(body []byte) ([]notice, error) {
	type event struct {
		Resources []struct {
			Tag string `json:"tag"`
			URL string `json:"resource_url"`
		} `json:"resources"`
	}
	var e struct {
		Type   string `json:"type"`
		Event  event  `json:"event_data"`
		Clouds event  `json:"data"`
	}
	if err := decode(body, &e); err != nil {
		return nil, err
	}
	if e.Type != "PUSH_ARTIFACT" && e.Type != "harbor.artifact.pushed" {
		return nil, nil
	}
	var notices []notice
	for _, resource := range slices.Concat(e.Event.Resources, e.Clouds.Resources) {
		if n, ok := image(resource.URL); ok && n.tag == resource.Tag {
			notices = append(notices, n)
		} else if name, _, digest := strings.Cut(resource.URL, "@"); digest {
			notices = append(notices, withoutTag(name)...)
		}
	}
	return notices, nil
}

func parseQuay(body []byte) ([]notice, error) {
	var e struct {
		URL  string   `json:"docker_url"`
		Tags []string `json:"updated_tags"`
	}
	if err := decode(body, &e); err != nil {
		return nil, err
	}
	var notices []notice
	for _, tag := range e.Tags {
		if n, ok := image(e.URL + ":" + tag); ok {
			notices = append(notices, n)
		}
	}
	return notices, nil
}

// parseECR reads what EventBridge sends on.
func parseECR(body []byte) ([]notice, error) {
	var e struct {
		Account string `json:"account"`
		Region  string `json:"region"`
		Detail  struct {
			Action     string `json:"action-type"`
			Result     string `json:"result"`
			Repository string `json:"repository-name"`
			Tag        string `json:"image-tag"`
		} `json:"detail"`
	}
	if err := decode(body, &e); err != nil {
		return nil, err
	}
	if e.Detail.Action != "PUSH" || e.Detail.Result != "SUCCESS" {
		return nil, nil
	}
	host := e.Account + ".dkr.ecr." + e.Region + ".amazonaws.com"
	if strings.HasPrefix(e.Region, "cn-") {
		host += ".cn"
	}
	return untagged(notice{host: host, repository: e.Detail.Repository, tag: e.Detail.Tag}), nil
}

// parsePubSub reads what Google's registries publish, as a push subscription delivers it.
func parsePubSub(body []byte) ([]notice, error) {
	var e struct {
		Message *struct {
			Data string `json:"data"`
		} `json:"message"`
	}
	if err := decode(body, &e); err != nil {
		return nil, err
	}
	if e.Message == nil {
		return nil, errors.New(`the body has no "message"; switch payload unwrapping off in the subscription`)
	}
	data, err := base64.StdEncoding.DecodeString(e.Message.Data)
	if err != nil {
		return nil, errors.New("message.data is not base64")
	}
	var event struct {
		Action string `json:"action"`
		Tag    string `json:"tag"`
		Digest string `json:"digest"`
	}
	if err := decode(data, &event); err != nil {
		return nil, err
	}
	if event.Action != "INSERT" {
		return nil, nil
	}
	if n, ok := image(event.Tag); ok {
		return one(n), nil
	}
	name, _, _ := strings.Cut(event.Digest, "@")
	return withoutTag(name), nil
}

func parseACR(body []byte) ([]notice, error) {
	var e struct {
		Action string `json:"action"`
		Target struct {
			Repository string `json:"repository"`
			Tag        string `json:"tag"`
			MediaType  string `json:"mediaType"`
		} `json:"target"`
		Request struct {
			Host string `json:"host"`
		} `json:"request"`
	}
	if err := decode(body, &e); err != nil {
		return nil, err
	}
	if e.Action != "push" || e.Target.Tag == "" && !mayRefer(e.Target.MediaType) {
		return nil, nil
	}
	return untagged(notice{host: e.Request.Host, repository: e.Target.Repository, tag: e.Target.Tag}), nil
}

// parseArtifactory reads an event of a repository that images are named after, or whose host is its own.
func parseArtifactory(body []byte) ([]notice, error) {
	var e struct {
		Domain string `json:"domain"`
		Type   string `json:"event_type"`
		Origin string `json:"jpd_origin"`
		Data   struct {
			Key   string `json:"repo_key"`
			Image string `json:"image_name"`
			Tag   string `json:"tag"`
		} `json:"data"`
	}
	if err := decode(body, &e); err != nil {
		return nil, err
	}
	if e.Domain != "docker" || e.Type != "pushed" || e.Data.Image == "" {
		return nil, nil
	}
	host := ""
	if origin, err := url.Parse(e.Origin); err == nil {
		host = origin.Host
	}
	return append(
		one(notice{host: host, repository: e.Data.Key + "/" + e.Data.Image, tag: e.Data.Tag}),
		one(notice{host: e.Data.Key + "." + host, repository: e.Data.Image, tag: e.Data.Tag})...,
	), nil
}

// parseNexus reads an event that names no host; the configuration maps the repository's name, or the empty host, to one.
func parseNexus(body []byte) ([]notice, error) {
	var e struct {
		Action     string `json:"action"`
		Repository string `json:"repositoryName"`
		Component  struct {
			Format  string `json:"format"`
			Group   string `json:"group"`
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"component"`
	}
	if err := decode(body, &e); err != nil {
		return nil, err
	}
	if e.Action != "CREATED" && e.Action != "UPDATED" || e.Component.Format != "docker" {
		return nil, nil
	}
	return append(
		one(notice{host: e.Repository, repository: e.Component.Name, tag: e.Component.Version}),
		one(notice{repository: e.Component.Name, tag: e.Component.Version})...,
	), nil
}

// parseCDEvents reads an artifact event, alone or in the data of a CloudEvent. The artifact is a package URL such as
// pkg:oci/api@sha256:...?repository_url=ghcr.io/acme/api&tag=1.0.
func parseCDEvents(body []byte) ([]notice, error) {
	type event struct {
		Context struct {
			Type string `json:"type"`
		} `json:"context"`
		Subject struct {
			ID string `json:"id"`
		} `json:"subject"`
	}
	var e struct {
		event

		Data *event `json:"data"`
	}
	if err := decode(body, &e); err != nil {
		return nil, err
	}
	told := e.event
	if e.Data != nil {
		told = *e.Data
	}
	if told.Context.Type == "" {
		return nil, errors.New(`the body has no "context" with a "type"`)
	}
	if !strings.HasPrefix(told.Context.Type, "dev.cdevents.artifact.published.") {
		return nil, nil
	}
	kind, query, _ := strings.Cut(told.Subject.ID, "?")
	values, err := url.ParseQuery(query)
	if err != nil || !strings.HasPrefix(kind, "pkg:oci/") && !strings.HasPrefix(kind, "pkg:docker/") {
		return nil, fmt.Errorf("subject.id %.100q is not a package URL of an image, such as pkg:oci/api?repository_url=ghcr.io/acme/api&tag=1.0", told.Subject.ID)
	}
	n, ok := image(values.Get("repository_url") + ":" + values.Get("tag"))
	if !ok {
		return nil, nil // a digest without a tag
	}
	return one(n), nil
}

// parseGeneric reads what anybody can send: {"image": "ghcr.io/acme/api:1.0"} or {"images": [...]}.
func parseGeneric(body []byte) ([]notice, error) {
	var e struct {
		Image  string   `json:"image"`
		Images []string `json:"images"`
	}
	if err := decode(body, &e); err != nil {
		return nil, err
	}
	if e.Image != "" {
		e.Images = append(e.Images, e.Image)
	}
	if len(e.Images) == 0 {
		return nil, errors.New(`the body names no image; send {"image": "ghcr.io/acme/api:1.0"}`)
	}
	var notices []notice
	for _, text := range e.Images {
		n, ok := image(text)
		if !ok {
			return nil, fmt.Errorf("%.100q is not an image with its registry and tag, such as ghcr.io/acme/api:1.0", text)
		}
		notices = append(notices, n)
	}
	return notices, nil
}

package webhook

import (
	"cmp"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/shared/imageref"
)

// FuzzRegistryPayload feeds anything to the parser of notifications. Whatever comes out must be an image that a pipeline
// could name, at the registry that the host stands for.
func FuzzRegistryPayload(f *testing.F) {
	for _, seed := range []string{
		`{"events":[{"action":"push","target":{"repository":"acme/api","tag":"1.0.0"},"request":{"host":"ghcr.io"}}]}`,
		`{"events":[{"action":"push","target":{"repository":"acme/api","tag":"1.0.0","url":"https://ghcr.io/v2/"}}]}`,
		`{"events":[{"action":"push","target":{"repository":"nginx","tag":"1@sha256:x"},"request":{"host":"docker.io"}}]}`,
		`{"events":[{"action":"push","target":{"repository":"api","tag":"1"},"request":{"host":"acme"}}]}`,
		`{"events":[{"action":"push","target":{"repository":"a","tag":"b"},"request":{"host":"registry:5000"}},{"action":"pull"}]}`,
		`{"events":null}`, `[]`, `{`, ``,
	} {
		f.Add([]byte(seed))
	}
	hosts := map[string]string{"registry:5000": "ghcr.io"}
	f.Fuzz(func(t *testing.T, body []byte) {
		notices, err := parse(body)
		if err != nil {
			if len(err.Error()) > 300+len(body) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the reason is not one line: %q", err)
			}
			return
		}
		for _, n := range notices {
			repository, ok := n.locate(hosts)
			if !ok {
				continue
			}
			tag := cmp.Or(n.tag, "1")
			ref, err := imageref.Parse(repository + ":" + tag)
			if err != nil || ref.Name() != repository || ref.Tag != tag {
				t.Errorf("%+v became %q, which reads as %+v, %v", n, repository, ref, err)
			}
			host := strings.ToLower(n.host)
			if host == "registry:5000" {
				host = "ghcr.io"
			}
			if host != ref.Registry && host != "docker.io" {
				t.Errorf("%+v is at %q, but became %q", n, host, repository)
			}
		}
	})
}

// FuzzPayloads checks that no body of any kind makes a notice which is not what it says.
func FuzzPayloads(f *testing.F) {
	kinds := providers()
	for i := range kinds {
		f.Add(i, []byte(`{"image":"ghcr.io/acme/api:1","docker_url":"quay.io/acme/api","updated_tags":["1"]}`))
	}
	f.Add(3, []byte(`{"push_data":{"tag":"1"},"repository":{"repo_name":"acme/api"}}`))
	f.Add(5, []byte(`{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"tag":"1","resource_url":"h.example.com/a/b:1"}]}}`))
	f.Add(8, []byte(`{"message":{"data":"eyJhY3Rpb24iOiJJTlNFUlQiLCJ0YWciOiJnY3IuaW8vcC9hOjEifQ=="}}`))
	f.Add(13, []byte(`{"context":{"type":"dev.cdevents.artifact.published.0.2.0"},"subject":{"id":"pkg:oci/api?repository_url=ghcr.io/acme/api&tag=1"}}`))
	f.Fuzz(func(t *testing.T, kind int, body []byte) {
		p := kinds[uint(kind)%uint(len(kinds))]
		notices, err := p.parse(body)
		if err != nil && (len(notices) > 0 || err.Error() == "" || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %q with %v", p.name, err, notices)
		}
		for _, n := range notices {
			repository, ok := n.locate(nil)
			if !ok {
				continue
			}
			tag := cmp.Or(n.tag, "1")
			if ref, err := imageref.Parse(repository + ":" + tag); err != nil || ref.Name() != repository || ref.Tag != tag {
				t.Errorf("%s: %+v became %q, which reads as %+v, %v", p.name, n, repository, ref, err)
			}
		}
	})
}

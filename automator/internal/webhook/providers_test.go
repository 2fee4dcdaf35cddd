package webhook_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/webhook"
)

// caller posts to hooks that follow every image, and notes what comes of it.
type caller struct {
	*webhook.Hooks

	mu      sync.Mutex
	refused []string
}

func newCaller(t *testing.T) *caller {
	t.Helper()
	c := &caller{}
	hosts := map[string]string{"docker-hosted": "nexus.example.com:8443"}
	hooks, err := webhook.New(webhook.Config{Callers: []webhook.Caller{{Name: "all", Tokens: []string{token}}}, Hosts: hosts}, webhook.Deps{
		FollowsImage: func(repository string) bool { return !strings.HasPrefix(repository, "docker-local.") },
		FollowsGit:   func(repository string) bool { return repository == "shop" },
		HintImage:    func(string, string) {},
		HintGit:      func(string) {},
		Refused: func(kind, reason string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.refused = append(c.refused, kind+": "+reason)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Hooks = hooks
	return c
}

// post sends a body with headers "Name: value".
func (c *caller) post(t *testing.T, path, body string, headers ...string) (int, string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	c.ServeHTTP(rec, req)
	return rec.Code, strings.TrimSpace(rec.Body.String())
}

func sign(algorithm func() hash.Hash, body string) string {
	mac := hmac.New(algorithm, []byte(token))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

const bearer = "Authorization: Bearer " + token

// payloads are what each kind sends, written after its documentation and cut to what matters, with how many hints come of it.
func payloads() map[string]struct {
	kind, body string
	hints      int
} {
	pubsub := func(data string) string {
		return fmt.Sprintf(`{"message":{"data":%q,"messageId":"7"},"subscription":"projects/p/subscriptions/s"}`, base64.StdEncoding.EncodeToString([]byte(data)))
	}
	return map[string]struct {
		kind, body string
		hints      int
	}{
		"DockerHub":         {"dockerhub", `{"push_data":{"pushed_at":1764100000,"pusher":"ann","tag":"1.2.0"},"repository":{"repo_name":"acme/api","name":"api","namespace":"acme"}}`, 1},
		"DockerHubEmpty":    {"dockerhub", `{}`, 0},
		"GitHub":            {"github", `{"action":"published","registry_package":{"name":"api","namespace":"Acme","package_type":"CONTAINER","package_version":{"container_metadata":{"tag":{"name":"1.2.0","digest":"sha256:aa"}}}}}`, 1},
		"GitHubPackage":     {"github", `{"action":"published","package":{"name":"api","namespace":"acme","package_version":{"container_metadata":{"tag":{"name":"1.2.0"}}}}}`, 1},
		"GitHubUntagged":    {"github", `{"action":"published","package":{"name":"api","namespace":"acme","package_version":{"container_metadata":{"tag":{"name":""}}}}}`, 1},
		"GitHubPing":        {"github", `{"zen":"Keep it logically awesome.","hook_id":1}`, 0},
		"GitLab":            {"gitlab", envelope(push("registry.gitlab.com", "acme/api", "1.2.0")), 1},
		"Harbor":            {"harbor", `{"type":"PUSH_ARTIFACT","occur_at":1764100000,"operator":"ann","event_data":{"resources":[{"digest":"sha256:aa","tag":"1.2.0","resource_url":"harbor.example.com/acme/api:1.2.0"}],"repository":{"repo_full_name":"acme/api"}}}`, 1},
		"HarborCloudEvent":  {"harbor", `{"specversion":"1.0","type":"harbor.artifact.pushed","data":{"resources":[{"tag":"1.2.0","resource_url":"harbor.example.com/acme/api:1.2.0"}]}}`, 1},
		"HarborDigest":      {"harbor", `{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"digest":"sha256:aa","tag":"","resource_url":"harbor.example.com/acme/api@sha256:aa"}]}}`, 1},
		"HarborPull":        {"harbor", `{"type":"PULL_ARTIFACT","event_data":{"resources":[{"tag":"1.2.0","resource_url":"harbor.example.com/acme/api:1.2.0"}]}}`, 0},
		"Quay":              {"quay", `{"name":"api","repository":"acme/api","namespace":"acme","docker_url":"quay.io/acme/api","updated_tags":["1.2.0","latest"]}`, 2},
		"ECR":               {"ecr", `{"version":"0","id":"13cde686","detail-type":"ECR Image Action","source":"aws.ecr","account":"123456789012","region":"eu-west-1","detail":{"result":"SUCCESS","repository-name":"acme/api","action-type":"PUSH","image-tag":"1.2.0"}}`, 1},
		"ECRDigest":         {"ecr", `{"account":"123456789012","region":"eu-west-1","detail":{"result":"SUCCESS","repository-name":"acme/api","action-type":"PUSH","image-digest":"sha256:aa"}}`, 1},
		"ECRDelete":         {"ecr", `{"account":"123456789012","region":"eu-west-1","detail":{"result":"SUCCESS","repository-name":"acme/api","action-type":"DELETE","image-tag":"1.2.0"}}`, 0},
		"GAR":               {"gar", pubsub(`{"action":"INSERT","digest":"europe-docker.pkg.dev/p/r/api@sha256:aa","tag":"europe-docker.pkg.dev/p/r/api:1.2.0"}`), 1},
		"GCR":               {"gcr", pubsub(`{"action":"INSERT","tag":"gcr.io/p/api:1.2.0"}`), 1},
		"GARDigest":         {"gar", pubsub(`{"action":"INSERT","digest":"europe-docker.pkg.dev/p/r/api@sha256:aa"}`), 1},
		"GARNothing":        {"gar", pubsub(`{"action":"INSERT"}`), 0},
		"GARDelete":         {"gar", pubsub(`{"action":"DELETE","tag":"europe-docker.pkg.dev/p/r/api:1.2.0"}`), 0},
		"ACR":               {"acr", `{"id":"cb8c","timestamp":"2026-11-25T20:00:00Z","action":"push","target":{"repository":"api","tag":"1.2.0"},"request":{"host":"acme.azurecr.io","method":"PUT"}}`, 1},
		"ACRPing":           {"acr", `{"id":"cb8c","action":"ping"}`, 0},
		"ACRDigest":         {"acr", `{"action":"push","target":{"mediaType":"application/vnd.oci.image.manifest.v1+json","repository":"api"},"request":{"host":"acme.azurecr.io"}}`, 1},
		"ACRLayer":          {"acr", `{"action":"push","target":{"mediaType":"application/octet-stream","repository":"api"},"request":{"host":"acme.azurecr.io"}}`, 0},
		"Artifactory":       {"artifactory", `{"domain":"docker","event_type":"pushed","data":{"repo_key":"docker-local","path":"acme/api/1.2.0/manifest.json","name":"manifest.json","image_name":"acme/api","tag":"1.2.0"},"jpd_origin":"https://acme.jfrog.io/artifactory"}`, 1},
		"ArtifactoryDelete": {"artifactory", `{"domain":"docker","event_type":"deleted","data":{"repo_key":"docker-local","image_name":"acme/api","tag":"1.2.0"},"jpd_origin":"https://acme.jfrog.io"}`, 0},
		"Nexus":             {"nexus", `{"timestamp":"2026-11-25T20:00:00Z","nodeId":"1","initiator":"ann","repositoryName":"docker-hosted","action":"CREATED","component":{"id":"x","format":"docker","name":"acme/api","version":"1.2.0"}}`, 1},
		"NexusMaven":        {"nexus", `{"repositoryName":"maven","action":"CREATED","component":{"format":"maven2","name":"api","version":"1.2.0"}}`, 0},
		"CDEvents":          {"cdevents", `{"context":{"version":"0.4.1","id":"27","type":"dev.cdevents.artifact.published.0.2.0"},"subject":{"id":"pkg:oci/api@sha256%3Aaa?repository_url=ghcr.io/acme/api&tag=1.2.0","type":"artifact"}}`, 1},
		"CDEventsInCloud":   {"cdevents", `{"specversion":"1.0","id":"27","data":{"context":{"type":"dev.cdevents.artifact.published.0.2.0"},"subject":{"id":"pkg:oci/api?repository_url=ghcr.io/acme/api&tag=1.2.0"}}}`, 1},
		"CDEventsOther":     {"cdevents", `{"context":{"type":"dev.cdevents.build.finished.0.2.0"},"subject":{"id":"x"}}`, 0},
		"Generic":           {"generic", `{"image":"ghcr.io/acme/api:1.2.0"}`, 1},
		"GenericSeveral":    {"generic", `{"images":["ghcr.io/acme/api:1.2.0","localhost:5000/api:1"]}`, 2},
	}
}

func TestPayloads(t *testing.T) {
	t.Parallel()
	for name, tc := range payloads() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCaller(t)
			code, text := c.post(t, "/hooks/"+tc.kind, tc.body, bearer)
			if want := fmt.Sprintf(`{"hints":%d}`, tc.hints); code != http.StatusAccepted || text != want {
				t.Errorf("%s: %d %s, want 202 %s", tc.body, code, text, want)
			}
		})
	}
}

func TestBrokenPayloads(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ kind, body string }{
		"NoMessage":  {"gar", `{"action":"INSERT"}`},
		"NotBase64":  {"gar", `{"message":{"data":"%"}}`},
		"NoContext":  {"cdevents", `{}`},
		"NoPurl":     {"cdevents", `{"context":{"type":"dev.cdevents.artifact.published.0.2.0"},"subject":{"id":"api"}}`},
		"NoImage":    {"generic", `{}`},
		"NoTag":      {"generic", `{"image":"ghcr.io/acme/api"}`},
		"WrongType":  {"harbor", `{"event_data":[]}`},
		"NotAnEvent": {"quay", `[]`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCaller(t)
			if code, text := c.post(t, "/hooks/"+tc.kind, tc.body, bearer); code != http.StatusBadRequest {
				t.Errorf("%d %s, want 400", code, text)
			}
			if diff := cmp.Diff([]string{tc.kind + ": body"}, c.refused); diff != "" {
				t.Errorf("refused: -want, +got:\n%s", diff)
			}
		})
	}
}

func TestProofs(t *testing.T) {
	t.Parallel()
	body := `{"images":["ghcr.io/acme/api:1.2.0"]}`
	nexus := payloads()["Nexus"].body
	sha2, other := sign(sha256.New, body), sign(sha256.New, body+" ")
	basic := func(password string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("hook:"+password))
	}
	const query = "?token=correct+horse+battery+staple"
	tests := map[string]struct {
		reason     string
		path, body string
		header     string
		want       int
	}{
		"Basic":          {"the password of a user of any name", "/hooks/generic", body, basic(token), http.StatusAccepted},
		"BasicWrong":     {"", "/hooks/generic", body, basic("wrong"), http.StatusUnauthorized},
		"Raw":            {"Harbor sends what it was told as the whole header", "/hooks/generic", body, "Authorization: " + token, http.StatusAccepted},
		"GitHub":         {"the body is signed", "/hooks/generic", body, "X-Hub-Signature-256: sha256=" + sha2, http.StatusAccepted},
		"GitHubOther":    {"another body was signed", "/hooks/generic", body, "X-Hub-Signature-256: sha256=" + other, http.StatusUnauthorized},
		"GitHubSHA1":     {"the old signature is none", "/hooks/generic", body, "X-Hub-Signature: sha1=" + sign(sha1.New, body), http.StatusUnauthorized},
		"GitHubCut":      {"half a signature", "/hooks/generic", body, "X-Hub-Signature-256: sha256=" + sha2[:32], http.StatusUnauthorized},
		"GitHubEmpty":    {"a signature of nothing", "/hooks/generic", body, "X-Hub-Signature-256: sha256=", http.StatusUnauthorized},
		"Bitbucket":      {"", "/hooks/git/shop", body, "X-Hub-Signature: sha256=" + sha2, http.StatusAccepted},
		"Gitea":          {"", "/hooks/git/shop", body, "X-Gitea-Signature: " + sha2, http.StatusAccepted},
		"GiteaOther":     {"", "/hooks/git/shop", body, "X-Gitea-Signature: " + other, http.StatusUnauthorized},
		"GitLab":         {"", "/hooks/git/shop", body, "X-Gitlab-Token: " + token, http.StatusAccepted},
		"GitLabWrong":    {"", "/hooks/git/shop", body, "X-Gitlab-Token: wrong", http.StatusUnauthorized},
		"AzureDevOps":    {"", "/hooks/git/shop", body, basic(token), http.StatusAccepted},
		"JFrog":          {"the secret itself", "/hooks/generic", body, "X-JFrog-Event-Auth: " + token, http.StatusAccepted},
		"JFrogSigned":    {"or a signature", "/hooks/generic", body, "X-JFrog-Event-Auth: " + sha2, http.StatusAccepted},
		"JFrogOther":     {"", "/hooks/generic", body, "X-JFrog-Event-Auth: " + other, http.StatusUnauthorized},
		"Nexus":          {"HMAC-SHA1 is all that it has", "/hooks/nexus", nexus, "X-Nexus-Webhook-Signature: " + sign(sha1.New, nexus), http.StatusAccepted},
		"NexusElsewhere": {"which nobody else may use", "/hooks/generic", body, "X-Nexus-Webhook-Signature: " + sign(sha1.New, body), http.StatusUnauthorized},
		"Query":          {"Docker Hub can send nothing else", "/hooks/dockerhub" + query, `{}`, "", http.StatusAccepted},
		"QueryElsewhere": {"who can send a header has to", "/hooks/generic" + query, body, "", http.StatusUnauthorized},
		"QueryWrong":     {"", "/hooks/dockerhub?token=wrong", `{}`, "", http.StatusUnauthorized},
		"Nothing":        {"", "/hooks/generic", body, "", http.StatusUnauthorized},
		"SignedForms":    {"GitHub's other content type", "/hooks/github", body, "Content-Type: application/x-www-form-urlencoded", http.StatusUnauthorized},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCaller(t)
			code, text := c.post(t, tc.path, tc.body, tc.header)
			if code != tc.want {
				t.Errorf("%s: %d %s, want %d", tc.reason, code, text, tc.want)
			}
			if refused := len(c.refused) > 0; refused != (code != http.StatusAccepted) {
				t.Errorf("refused: %v", c.refused)
			}
		})
	}
}

func TestReplaysBringNoHints(t *testing.T) {
	t.Parallel()
	body := `{"image":"ghcr.io/acme/api:1.2.0"}`
	signature := "X-Hub-Signature-256: sha256=" + sign(sha256.New, body)
	c := newCaller(t)
	expect := func(want string, headers ...string) {
		t.Helper()
		if code, text := c.post(t, "/hooks/generic", body, headers...); code != http.StatusAccepted || text != want {
			t.Errorf("%d %s, want 202 %s", code, text, want)
		}
	}
	expect(`{"hints":1}`, signature, "X-GitHub-Delivery: 1")
	expect(`{"hints":0}`, signature, "X-GitHub-Delivery: 2") // the body is signed, and not the id
	expect(`{"hints":1}`, bearer, "X-Gitea-Delivery: 1")
	expect(`{"hints":0}`, bearer, "X-Gitea-Delivery: 1")
	expect(`{"hints":1}`, bearer, "X-Gitea-Delivery: 2")
	expect(`{"hints":1}`, bearer) // no id: a mutable tag is pushed again and again
	expect(`{"hints":1}`, bearer)
}

func TestKindsAreDocumented(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	var kinds []string
	for _, tc := range payloads() {
		kinds = append(kinds, tc.kind)
	}
	slices.Sort(kinds)
	for _, kind := range append(slices.Compact(kinds), "registry", "distribution") {
		if code, _ := c.post(t, "/hooks/"+kind, "{}"); code != http.StatusUnauthorized {
			t.Errorf("%s without a proof: %d, want 401", kind, code)
		}
	}
}

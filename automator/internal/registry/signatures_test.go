package registry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/signature/signaturetest"
)

const artifactManifest = "application/vnd.oci.image.manifest.v1+json"

// blob pushes bytes and returns their digest.
func (w *world) blob(repository string, body []byte) string {
	w.t.Helper()
	digest := signaturetest.Digest(string(body))
	w.put("/v2/"+repository+"/blobs/uploads/?digest="+digest, http.MethodPost, "application/octet-stream", body)
	return digest
}

func (w *world) put(path, method, mediaType string, body []byte) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := w.server.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		w.t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
}

type layer struct {
	MediaType   string            `json:"mediaType"`
	Size        int               `json:"size"`
	Digest      string            `json:"digest"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// layerOf pushes an item's bytes.
func (w *world) layerOf(repository, mediaType string, item signature.Item) layer {
	return layer{MediaType: mediaType, Size: len(item.Body), Digest: w.blob(repository, item.Body), Annotations: item.Annotations}
}

// artifact pushes a manifest of layers, and returns its digest. A subject is what it refers to; empty for none.
func (w *world) artifact(repository, tag, subject string, layers ...layer) string {
	w.t.Helper()
	manifest := map[string]any{
		"schemaVersion": 2, "mediaType": artifactManifest, "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
		"config": layer{MediaType: "application/vnd.oci.empty.v1+json", Size: 2, Digest: w.blob(repository, []byte("{}"))}, "layers": layers,
	}
	if subject != "" {
		manifest["subject"] = layer{MediaType: artifactManifest, Size: 1, Digest: subject}
	}
	body, err := json.Marshal(manifest)
	if err != nil {
		w.t.Fatal(err)
	}
	digest := signaturetest.Digest(string(body))
	if tag == "" {
		tag = digest
	}
	w.put("/v2/"+repository+"/manifests/"+tag, http.MethodPut, artifactManifest, body)
	return digest
}

const bundleLayer = "application/vnd.dev.sigstore.bundle.v0.3+json"

// TestSignatures reads what cosign attaches, in each of its forms, from a registry with a list of referrers and without.
func TestSignatures(t *testing.T) {
	t.Parallel()
	noReferrers := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.Path, "/referrers/") {
				http.NotFound(rw, req)
				return
			}
			next.ServeHTTP(rw, req)
		})
	}
	cases := map[string]struct {
		wrap []middleware
		tag  bool // the list is a tag
	}{
		"Referrers":    {},
		"ReferrersTag": {wrap: []middleware{noReferrers}, tag: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.wrap...)
			image := signature.Image{Repository: w.host + "/acme/api", Digest: w.push("acme/api", "1.0.0", "one")}
			base := strings.Replace(image.Digest, ":", "-", 1)
			key := signaturetest.ECDSA(t)
			simple := key.Simple(signaturetest.Payload(image))
			attested := key.Envelope(signaturetest.Statement(image, "https://slsa.dev/provenance/v1", "{}"))
			bundle := key.Bundle(signaturetest.Statement(image, signaturetest.SignaturePredicate, "{}"))
			w.artifact("acme/api", base+".sig", "", w.layerOf("acme/api", signature.SimpleSigningType, simple))
			w.artifact("acme/api", base+".att", "", w.layerOf("acme/api", signature.EnvelopeType, attested))
			referrer := w.artifact("acme/api", "", image.Digest, w.layerOf("acme/api", bundleLayer, bundle))
			if tc.tag {
				w.index("acme/api", base, referrer)
			}
			got, err := w.client().Signatures(t.Context(), image.Repository, image.Digest)
			if err != nil {
				t.Fatal(err)
			}
			var kinds []signature.Kind
			for _, item := range got.Items {
				kinds = append(kinds, item.Kind)
			}
			slices.Sort(kinds)
			if !slices.Equal(kinds, []signature.Kind{signature.Bundle, signature.SimpleSigning, signature.Envelope}) || got.Skipped != 0 {
				t.Fatalf("Signatures(...): kinds %v, %d skipped", kinds, got.Skipped)
			}
			for _, config := range []signature.Config{{Keys: []string{key.Public}}, {Keys: []string{key.Public}, Attestation: "https://slsa.dev/provenance/v1"}} {
				rule, err := signature.New(config)
				if err != nil {
					t.Fatal(err)
				}
				verifier, err := signature.Rules{rule}.With(signature.Trust{})
				if err != nil {
					t.Fatal(err)
				}
				if verdict := verifier.Verify(image, got); !verdict.Kept {
					t.Errorf("Verify(...): %s", verdict.Reason)
				}
			}
		})
	}
}

// index pushes a list of referrers under a tag.
func (w *world) index(repository, tag string, digests ...string) {
	w.t.Helper()
	w.put("/v2/"+repository+"/manifests/"+tag, http.MethodPut, "application/vnd.oci.image.index.v1+json", indexOf(w.t, digests...))
}

func indexOf(t testing.TB, digests ...string) []byte {
	t.Helper()
	var manifests []map[string]any
	for _, digest := range digests {
		manifests = append(manifests, map[string]any{"mediaType": artifactManifest, "size": 1, "digest": digest, "artifactType": bundleLayer})
	}
	body, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestSignaturesOfNone finds nothing, and that is an answer.
func TestSignaturesOfNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	digest := w.push("acme/api", "1.0.0", "one")
	got, err := w.client().Signatures(t.Context(), w.host+"/acme/api", digest)
	if err != nil || len(got.Items) != 0 || got.Skipped != 0 {
		t.Errorf("Signatures(...): %d items, %d skipped, %v", len(got.Items), got.Skipped, err)
	}
	if _, err := w.client().Signatures(t.Context(), w.host+"/acme/api", "1.0.0"); err == nil {
		t.Error("Signatures(...): a tag is taken for a digest")
	}
}

// TestSignaturesHostile reads what anybody may have pushed who may push to the repository: what is of no use is counted, is
// within bounds, and keeps nothing else from being read.
func TestSignaturesHostile(t *testing.T) {
	t.Parallel()
	var list []byte
	w := newWorld(t, listed(func() []byte { return list }))
	image := signature.Image{Repository: w.host + "/acme/api", Digest: w.push("acme/api", "1.0.0", "one")}
	base := strings.Replace(image.Digest, ":", "-", 1)
	key := signaturetest.ECDSA(t)
	good := w.layerOf("acme/api", signature.SimpleSigningType, key.Simple(signaturetest.Payload(image)))
	small := func(size int, digest, mediaType string) layer {
		return layer{MediaType: mediaType, Size: size, Digest: digest}
	}
	one := w.blob("acme/api", []byte("{}"))
	layers := make([]layer, 0, 3000)
	for range 2990 {
		layers = append(layers, small(2, one, signature.EnvelopeType))
	}
	annotated := small(2, one, signature.SimpleSigningType)
	annotated.Annotations = map[string]string{signature.Annotations()[0]: strings.Repeat("A", signature.MaxAnnotation+1)}
	layers = append(layers,
		annotated,
		small(2, one, "application/vnd.oci.image.layer.v1.tar+gzip"),
		small(signature.MaxBody+1, one, signature.SimpleSigningType),
		small(-1, one, signature.SimpleSigningType),
		small(1, one, signature.SimpleSigningType), // more than it says
		small(2, signaturetest.Digest("nobody has this"), signature.SimpleSigningType),
		good,
	)
	w.artifact("acme/api", base+".sig", "", layers...)
	// A loop: an artifact that refers to itself by a list, one that refers to another image, and one that is not there.
	loop := w.artifact("acme/api", "loop", signaturetest.Digest("another image"), good)
	list = indexOf(t, loop, image.Digest, signaturetest.Digest("not there"))
	got, err := w.client().Signatures(t.Context(), image.Repository, image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	// Of the tag's last layers six are of no use, and of the list all three.
	const older, useless = 2997 - signature.MaxItems, 6 + 3
	if len(got.Items) != signature.MaxItems-6 || got.Skipped != older+useless {
		t.Errorf("Signatures(...): %d items, %d skipped; want %d and %d", len(got.Items), got.Skipped, signature.MaxItems-6, older+useless)
	}
	if last := got.Items; !slices.ContainsFunc(last, func(i signature.Item) bool { return i.Kind == signature.SimpleSigning && len(i.Body) > 2 }) {
		t.Error("Signatures(...): the newest signature is not among what was read")
	}
}

// TestSignaturesUnreachable tells a registry that does not answer from one that has nothing.
func TestSignaturesUnreachable(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"/referrers/", ".sig", ".att", "/blobs/"} {
		t.Run(strings.Trim(part, "/."), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
					if req.Method == http.MethodGet && strings.Contains(req.URL.Path, part) {
						http.Error(rw, "{}", http.StatusInternalServerError)
						return
					}
					next.ServeHTTP(rw, req)
				})
			})
			image := signature.Image{Repository: w.host + "/acme/api", Digest: w.push("acme/api", "1.0.0", "one")}
			item := signaturetest.ECDSA(t).Simple(signaturetest.Payload(image))
			w.artifact("acme/api", strings.Replace(image.Digest, ":", "-", 1)+".sig", "", w.layerOf("acme/api", signature.SimpleSigningType, item))
			_, err := w.client().Signatures(t.Context(), image.Repository, image.Digest)
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("signatures of %s@%s", image.Repository, image.Digest)) {
				t.Errorf("Signatures(...): %v", err)
			}
		})
	}
}

// TestSignaturesBehindMirror asks the registry where its mirror has the image and nothing of use about its signatures.
func TestSignaturesBehindMirror(t *testing.T) {
	t.Parallel()
	w, mirror := newWorld(t), newWorld(t)
	image := signature.Image{Repository: w.host + "/acme/api", Digest: w.push("acme/api", "1.0.0", "one")}
	mirror.push("acme/api", "1.0.0", "one")
	useless := layer{MediaType: signature.SimpleSigningType, Size: -1, Digest: image.Digest}
	mirror.artifact("acme/api", strings.Replace(image.Digest, ":", "-", 1)+".att", "", useless)
	item := signaturetest.ECDSA(t).Simple(signaturetest.Payload(image))
	w.artifact("acme/api", strings.Replace(image.Digest, ":", "-", 1)+".sig", "", w.layerOf("acme/api", signature.SimpleSigningType, item))
	client := newClient(t, registry.Config{Hosts: map[string]registry.Host{
		w.host: {Insecure: true, Mirrors: []string{mirror.host}}, mirror.host: {Insecure: true},
	}})
	got, err := client.Signatures(t.Context(), image.Repository, image.Digest)
	if err != nil || len(got.Items) != 1 || got.Skipped != 0 {
		t.Errorf("Signatures(...): %d items, %d skipped, %v; want the registry's", len(got.Items), got.Skipped, err)
	}
	got, err = mirror.client().Signatures(t.Context(), mirror.host+"/acme/api", image.Digest)
	if err != nil || len(got.Items) != 0 || got.Skipped != 1 {
		t.Errorf("Signatures(...): %d items, %d skipped, %v; want the one of the mirror counted", len(got.Items), got.Skipped, err)
	}
	w.server.Close()
	if _, err := client.Signatures(t.Context(), image.Repository, image.Digest); err == nil {
		t.Error("Signatures(...): what the mirror lacks is taken for what the registry lacks")
	}
}

// TestSignaturesBehindMirrorThatFails are not known where the registry has none: the mirror may have them.
func TestSignaturesBehindMirrorThatFails(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	w, mirror := newWorld(t), newWorld(t, on("", func(rw http.ResponseWriter, _ *http.Request) bool {
		if down.Load() {
			rw.WriteHeader(http.StatusBadGateway)
		}
		return down.Load()
	}))
	image := signature.Image{Repository: w.host + "/acme/api", Digest: w.push("acme/api", "1.0.0", "one")}
	client := mirrored(t, w, mirror, "")
	if got, err := client.Signatures(t.Context(), image.Repository, image.Digest); err != nil || len(got.Items) != 0 {
		t.Errorf("Signatures(...): %d items, %v; want none of a mirror without the repository", len(got.Items), err)
	}
	down.Store(true)
	if _, err := client.Signatures(t.Context(), image.Repository, image.Digest); err == nil || !strings.Contains(err.Error(), mirror.host) {
		t.Errorf("Signatures(...): %v; want that the mirror failed", err)
	}
}

// listed answers for the list of referrers.
func listed(list func() []byte) middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			if !strings.Contains(req.URL.Path, "/referrers/") {
				next.ServeHTTP(rw, req)
				return
			}
			rw.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			_, _ = rw.Write(list())
		})
	}
}

// TestSignaturesAtTheEndOfALongList asks for the last referrers alone, and counts the others.
func TestSignaturesAtTheEndOfALongList(t *testing.T) {
	t.Parallel()
	const limit, before = 64, 36
	pages := [][]byte{nil, nil, nil}
	w := newWorld(t, paged(relative, pages...))
	image := signature.Image{Repository: w.host + "/acme/api", Digest: w.push("acme/api", "1.0.0", "one")}
	item := signaturetest.ECDSA(t).Bundle(signaturetest.Statement(image, signaturetest.SignaturePredicate, "{}"))
	at := w.layerOf("acme/api", bundleLayer, item)
	digests := make([]string, 0, limit+before)
	for i := range limit + before {
		at.Annotations = map[string]string{"n": strconv.Itoa(i)}
		digests = append(digests, w.artifact("acme/api", "", image.Digest, at))
	}
	pages[0], pages[1] = indexOf(t, digests[:before]...), indexOf(t, digests[before:]...)
	pages[2] = indexOf(t, digests[before:]...) // once more
	got, err := w.client().Signatures(t.Context(), image.Repository, image.Digest)
	if err != nil || len(got.Items) != limit || got.Skipped != before {
		t.Fatalf("Signatures(...): %d items, %d skipped, %v; want %d and %d", len(got.Items), got.Skipped, err, limit, before)
	}
	for i, one := range got.Items {
		if want := digests[len(digests)-1-i]; one.Where != "referrer "+want[7:19] {
			t.Errorf("item %d is %s, want that of %s", i, one.Where, want)
		}
	}
}

// TestSignaturesBesideNonsense reads what a list names besides what no registry may name.
func TestSignaturesBesideNonsense(t *testing.T) {
	t.Parallel()
	good := ""
	w := newWorld(t, listed(func() []byte {
		return []byte(`{"manifests":[7,{"digest":"nonsense"},{"digest":"blake3:aa"},{"digest":"` + good + `"},{"artifactType":"application/spdx"}]}`)
	}))
	image := signature.Image{Repository: w.host + "/acme/api", Digest: w.push("acme/api", "1.0.0", "one")}
	item := signaturetest.ECDSA(t).Bundle(signaturetest.Statement(image, signaturetest.SignaturePredicate, "{}"))
	good = w.artifact("acme/api", "", image.Digest, w.layerOf("acme/api", bundleLayer, item))
	got, err := w.client().Signatures(t.Context(), image.Repository, image.Digest)
	if err != nil || len(got.Items) != 1 || got.Skipped != 3 {
		t.Errorf("Signatures(...): %d items, %d skipped, %v; want 1 and 3", len(got.Items), got.Skipped, err)
	}
}

// TestSignaturesOfAWorthlessListTakeLittleMemory has a registry send as many descriptors as fit on a page. It runs alone, as all
// memory is counted that is allocated meanwhile.
func TestSignaturesOfAWorthlessListTakeLittleMemory(t *testing.T) {
	const entries = 1 << 20
	page := []byte(`{"manifests":[{}` + strings.Repeat(",{}", entries-1) + `]}`)
	w := newWorld(t, listed(func() []byte { return page }))
	digest := w.push("acme/api", "1.0.0", "one")
	client := w.client()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := client.Signatures(t.Context(), w.host+"/acme/api", digest)
	runtime.ReadMemStats(&after)
	if err != nil || got.Skipped != entries {
		t.Fatalf("Signatures(...): %d skipped, %v; want %d", got.Skipped, err, entries)
	}
	if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 128 {
		t.Errorf("%d MiB were allocated for %d descriptors", took, entries)
	}
}

// paged answers for the list of referrers with a page for each of some lists, the next one named by link, whose lines are headers.
func paged(link func(at string, next int) string, pages ...[]byte) middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			if !strings.Contains(req.URL.Path, "/referrers/") {
				next.ServeHTTP(rw, req)
				return
			}
			page, _ := strconv.Atoi(req.URL.Query().Get("page"))
			if page+1 < len(pages) {
				rw.Header()["Link"] = strings.Split(link(req.URL.Path, page+1), "\n")
			}
			rw.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			_, _ = rw.Write(pages[page])
		})
	}
}

func relative(at string, next int) string { return fmt.Sprintf(`<%s?page=%d>; rel="next"`, at, next) }

// TestSignaturesOnLaterPages reads a registry's list to its end, which is where it is named, within bounds.
func TestSignaturesOnLaterPages(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		pages   int // the last of which names the signature
		link    func(at string, next int) string
		found   bool
		skipped int
		asked   int
	}{
		"One":     {pages: 1, link: relative, found: true, asked: 1},
		"Last":    {pages: 3, link: relative, found: true, asked: 3},
		"TooMany": {pages: 17, link: relative, skipped: 1, asked: 16},
		"Elsewhere": {pages: 2, link: func(at string, next int) string {
			return strings.Replace(relative(at, next), "<", "<http://other.test", 1)
		}, skipped: 1, asked: 1},
		"OtherList": {pages: 2, link: func(string, int) string { return `</v2/acme/other/referrers/sha256:aa?page=1>; rel="next"` }, skipped: 1, asked: 1},
		"NoNext":    {pages: 2, link: func(at string, next int) string { return strings.Replace(relative(at, next), "next", "prev", 1) }, asked: 1},
		"OtherLinks": {pages: 3, link: func(at string, next int) string {
			return fmt.Sprintf(`<%s?page=0>; rel="prev"; title="a, <b>; rel=\"next\"", , %s`, at, relative(at, next))
		}, found: true, asked: 3},
		"OtherHeaders": {pages: 2, link: func(at string, next int) string {
			return fmt.Sprintf("<%s?page=0,0>; rel=prev\n<%s?page=%d>;REL=\"last Next\"", at, at, next)
		}, found: true, asked: 2},
		"NoAddress": {pages: 2, link: func(string, int) string { return `<http://%zz>; rel="next"` }, skipped: 1, asked: 1},
		"NoTarget":  {pages: 2, link: func(at string, next int) string { return strings.Trim(relative(at, next), "<") }, skipped: 1, asked: 1},
		"Unclosed":  {pages: 2, link: func(at string, next int) string { return strings.Replace(relative(at, next), ">", "", 1) }, skipped: 1, asked: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pages := make([][]byte, tc.pages)
			for i := range pages {
				pages[i] = indexOf(t)
			}
			w := newWorld(t, paged(tc.link, pages...))
			image := signature.Image{Repository: w.host + "/acme/api", Digest: w.push("acme/api", "1.0.0", "one")}
			key := signaturetest.ECDSA(t)
			bundle := key.Bundle(signaturetest.Statement(image, signaturetest.SignaturePredicate, "{}"))
			pages[tc.pages-1] = indexOf(t, w.artifact("acme/api", "", image.Digest, w.layerOf("acme/api", bundleLayer, bundle)))
			got, err := w.client().Signatures(t.Context(), image.Repository, image.Digest)
			if err != nil || (len(got.Items) == 1) != tc.found || got.Skipped != tc.skipped {
				t.Errorf("Signatures(...): %d items, %d skipped, %v; want found %t, %d skipped", len(got.Items), got.Skipped, err, tc.found, tc.skipped)
			}
			if asked := w.count(func(req *http.Request) bool { return strings.Contains(req.URL.Path, "/referrers/") }); asked != tc.asked {
				t.Errorf("%d pages were asked for, want %d", asked, tc.asked)
			}
		})
	}
}

// TestSignaturesBesideOneHandshake asks about many images of a repository after the handshakes of the first.
func TestSignaturesBesideOneHandshake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := w.client()
	handshakes := func(req *http.Request) bool { return req.URL.Path == "/v2/" }
	var after []int
	for _, tag := range []string{"1.0.0", "1.1.0", "1.2.0"} {
		digest := w.push("acme/api", tag, tag)
		if _, err := client.Signatures(t.Context(), w.host+"/acme/api", digest); err != nil {
			t.Fatal(err)
		}
		after = append(after, w.count(handshakes))
	}
	if after[0] == 0 || after[2] != after[0] {
		t.Errorf("handshakes after each image: %v, want all with the first", after)
	}
}

package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/integration/images/layer"
)

func TestSources(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"sources.list":                  {Data: []byte("# deb http://commented/debian x main\ndeb [arch=amd64] http://one/debian trixie main\ndeb-src http://src/debian trixie main\n")},
		"sources.list.d/debian.sources": {Data: []byte("Types: deb\n# a note\nURIs: http://two/debian https://three/debian-security/\nSuites: trixie\n\nTypes: deb\nURIs: cdrom:[disc]/ ar+https://four/debian\nSuites: trixie\n")},
		"sources.list.d/readme":         {Data: []byte("deb http://five/debian trixie main\n")},
	}
	want := []mirror{{"http://one/debian/", true}, {"http://two/debian/", true}, {"http://deb.debian.org/debian/", false}}
	if diff := cmp.Diff(want, mirrors(files, mainArchive), cmp.AllowUnexported(mirror{})); diff != "" {
		t.Errorf("mirrors(debian): -want, +got\n%s", diff)
	}
	want = []mirror{{"https://three/debian-security/", true}, {"http://deb.debian.org/debian-security/", false}}
	if diff := cmp.Diff(want, mirrors(files, securityArchive), cmp.AllowUnexported(mirror{})); diff != "" {
		t.Errorf("mirrors(debian-security): -want, +got\n%s", diff)
	}
}

// offered is an index in Debian's own format.
const offered = `Package: git
Version: 1:2.47-1
Depends: libc6 (>= 2.38), perl, libssl3 | libssl4, mail-agent
Filename: pool/main/g/git.deb
Size: 10
SHA256: aa

Package: git
Version: 1:2.47-1+deb13u1
Depends: libc6 (>= 2.38), perl:any, libssl4 | libssl3, mail-agent
Filename: pool/main/g/git-new.deb
Size: 11
SHA256: ab

Package: libc6
Version: 2.41
Pre-Depends: libgcc-s1
Filename: pool/main/g/libc6.deb
Size: 12
SHA256: ac

Package: libgcc-s1
Version: 14
Depends: libc6
Filename: pool/main/g/libgcc.deb
Size: 13
SHA256: ad

Package: libssl3
Version: 3
Filename: pool/main/o/libssl3.deb
Size: 14
SHA256: ae

Package: postfix
Version: 3
Provides: mail-agent (= 1), smtp
Filename: pool/main/p/postfix.deb
Size: 15
SHA256: af

Package: perl
Version: 5
Depends: enormous
Filename: pool/main/p/perl.deb
Size: 16
SHA256: b0
`

func TestClosure(t *testing.T) {
	t.Parallel()
	x := newIndex()
	if err := parse(strings.NewReader(offered), mainArchive, x); err != nil {
		t.Fatal(err)
	}
	packages, err := x.closure([]string{"git"}, map[string]bool{"perl": true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range packages {
		got = append(got, p.Name+" "+p.Version)
	}
	// The newest git; its alternative that exists; who provides a name; no perl, nor what only perl needs.
	want := []string{"git 1:2.47-1+deb13u1", "libc6 2.41", "libgcc-s1 14", "libssl3 3", "postfix 3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("closure(git): -want, +got\n%s", diff)
	}
	if _, err := x.closure([]string{"git"}, nil); err == nil {
		t.Error("closure(git) with perl, whose dependency does not exist: no error")
	}
	if _, err := x.closure([]string{"absent"}, nil); err == nil {
		t.Error("closure(absent): no error")
	}
}

// member is one file of an ar archive.
func member(to *bytes.Buffer, name string, content []byte) {
	fmt.Fprintf(to, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", name, 0, 0, 0, 0o100644, len(content))
	to.Write(content)
	if len(content)%2 == 1 {
		to.WriteByte('\n')
	}
}

// pack makes a package of entries; those of a regular file hold their own name.
func pack(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	archive := func(headers ...tar.Header) []byte {
		var packed bytes.Buffer
		w := tar.NewWriter(&packed)
		for _, header := range headers {
			content := header.PAXRecords["content"]
			header.PAXRecords = nil
			header.Size = int64(len(content))
			if err := w.WriteHeader(&header); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(content)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return packed.Bytes()
	}
	control := "Package: sample\nVersion: 1\nArchitecture: amd64\n"
	var packed bytes.Buffer
	packed.WriteString("!<arch>\n")
	member(&packed, "debian-binary", []byte("2.0\n"))
	member(&packed, "control.tar", archive(tar.Header{Name: "./control", Typeflag: tar.TypeReg, Mode: 0o644, PAXRecords: map[string]string{"content": control}}))
	member(&packed, "data.tar", archive(headers...))
	return packed.Bytes()
}

func file(name, content string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o4755, PAXRecords: map[string]string{"content": content}}
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	var tree layer.Tree
	err := errors.Join(Prepare(&tree), Unpack(&tree, pack(t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		file("./bin/dash", "shell"),
		tar.Header{Name: "./usr/bin/other", Typeflag: tar.TypeLink, Linkname: "./bin/dash"},
		file("./usr/share/man/man1/dash.1", "manual"),
		file("./usr/share/doc/dash/copyright", "terms"),
		file("./usr/share/doc/dash/README", "text"),
		file("./usr/share/ca-certificates/mozilla/B.crt", "B\n"),
		file("./usr/share/ca-certificates/mozilla/A.crt", "A"),
	)), Finish(&tree))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"usr/bin/dash": "shell", "usr/bin/other": "shell", "usr/share/doc/dash/copyright": "terms", bundle: "A\nB\n",
	} {
		if entry, ok := tree.Get(name); !ok || string(entry.Content) != want {
			t.Errorf("%s: %q, want %q", name, entry.Content, want)
		}
	}
	for _, name := range []string{"usr/share/man", "usr/share/doc/dash/README"} {
		if _, ok := tree.Get(name); ok {
			t.Errorf("%s is in the image, where nobody reads it", name)
		}
	}
	for name, want := range map[string]string{"bin": "usr/bin", "usr/bin/sh": "dash"} {
		if entry, _ := tree.Get(name); entry.Target != want {
			t.Errorf("%s leads to %q, want %q", name, entry.Target, want)
		}
	}
}

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		content []byte
	}{
		"Parent":   {reason: "A package must not write outside the image.", content: pack(t, file("./../../etc/passwd", "x"))},
		"Absolute": {reason: "Nor choose the root.", content: pack(t, file("/etc/passwd", "x"))},
		"Through": {reason: "Nor write through a link of its own.", content: pack(t,
			tar.Header{Name: "./usr/out", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, file("./usr/out/passwd", "x"))},
		"Device":    {reason: "Devices are the node's.", content: pack(t, tar.Header{Name: "./dev/sda", Typeflag: tar.TypeBlock})},
		"DeadLink":  {reason: "A hard link needs its file.", content: pack(t, tar.Header{Name: "./usr/a", Typeflag: tar.TypeLink, Linkname: "./etc/shadow"})},
		"NoPackage": {reason: "A mirror may answer with a web page.", content: []byte("<html>")},
		"Cut":       {reason: "A download may end early.", content: pack(t, file("./usr/a", strings.Repeat("x", 4096)))[:1800]},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tree layer.Tree
			if err := errors.Join(Prepare(&tree), Unpack(&tree, tc.content)); err == nil {
				t.Errorf("%s: Unpack(...): no error, and the tree has %q", tc.reason, tree.Names())
			}
		})
	}
}

// TestFetchBelievesTheLock: a mirror that lies or lacks a package is passed over,
// and what comes of it names no private mirror.
func TestFetchBelievesTheLock(t *testing.T) {
	t.Parallel()
	const content = "a package"
	var mu sync.Mutex
	asked := map[string]int{}
	serve := func(name, answer string, status int) *httptest.Server {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			asked[name]++
			mu.Unlock()
			w.WriteHeader(status)
			fmt.Fprint(w, answer)
		}))
		t.Cleanup(server.Close)
		return server
	}
	lying, absent, right := serve("lying", "other", http.StatusOK), serve("absent", "", http.StatusNotFound), serve("right", content, http.StatusOK)
	apt := func(servers ...*httptest.Server) fstest.MapFS {
		list := ""
		for _, server := range servers {
			list += "deb " + server.URL + "/debian trixie main\n"
		}
		return fstest.MapFS{"sources.list": {Data: []byte(list)}}
	}
	p := Package{Name: "git", Version: "1", Archive: mainArchive, Path: "pool/git.deb", Size: 9, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(content)))}
	f := Fetcher{Cache: t.TempDir(), Apt: apt(lying, absent, right)}
	for range 2 { // the second time from the cache
		got, err := f.Fetch(t.Context(), []Package{p})
		if err != nil || string(got[0]) != content {
			t.Fatalf("Fetch(...): %q, %v, want the pinned package", got, err)
		}
	}
	mu.Lock()
	diff := cmp.Diff(map[string]int{"lying": 1, "absent": 1, "right": 1}, asked)
	mu.Unlock()
	if diff != "" {
		t.Errorf("requests: -want, +got\n%s", diff)
	}

	// The public mirror is out of reach here: whoever is asked, only apt's is there.
	f = Fetcher{Apt: apt(lying, absent), Client: &http.Client{Transport: only{host: lying.Listener.Addr().String(), also: absent.Listener.Addr().String()}}}
	_, err := f.Fetch(t.Context(), []Package{p})
	if !errors.Is(err, errChecksum) || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("Fetch(...): %v, want the checksum named and no private mirror", err)
	}
}

// only reaches two hosts.
type only struct{ host, also string }

var errOutOfReach = errors.New("out of reach")

func (o only) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Host != o.host && request.URL.Host != o.also {
		return nil, errOutOfReach
	}
	return http.DefaultTransport.RoundTrip(request)
}

func TestReadChecksPins(t *testing.T) {
	t.Parallel()
	good := Package{Name: "git", Version: "1", Archive: mainArchive, Path: "pool/main/g/git.deb", Size: 9, SHA256: strings.Repeat("a", 64)}
	cases := map[string]struct {
		reason string
		change func(*Package)
		want   bool
	}{
		"Good":    {reason: "What Write writes is read.", change: func(*Package) {}, want: true},
		"Path":    {reason: "A path could lead to another host's files.", change: func(p *Package) { p.Path = "pool/../../x" }},
		"Archive": {reason: "Only Debian's archives are asked.", change: func(p *Package) { p.Archive = "ubuntu" }},
		"Sum":     {reason: "A pin without a hash pins nothing.", change: func(p *Package) { p.SHA256 = "" }},
		"Size":    {reason: "A download is bounded.", change: func(p *Package) { p.Size = maxPackage + 1 }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := good
			tc.change(&p)
			content, err := Lock{Release: "trixie", Packages: map[string][]Package{"amd64": {p}}}.Write()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Read(content); (err == nil) != tc.want {
				t.Errorf("%s: Read(...): %v", tc.reason, err)
			}
		})
	}
}

func TestSignatureIsNeeded(t *testing.T) {
	t.Parallel()
	if _, err := verifySignature(context.Background(), []byte("Origin: Debian\n")); err == nil {
		t.Error("verifySignature(unsigned): no error")
	}
}

package gitobject_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/gitobject/gitobjecttest"
)

func changes(t require, s *gitobjecttest.Store, from, to gitobject.ID, under ...string) []gitobject.Change {
	t.Helper()
	var got []gitobject.Change
	collect := func(c gitobject.Change) error { got = append(got, c); return nil }
	if err := gitobject.Diff(context.Background(), s, from, to, under, collect); err != nil {
		t.Fatalf("Diff(...): %v", err)
	}
	return got
}

// require is what testing.T and rapid.T share.
type require interface {
	Helper()
	Fatalf(format string, args ...any)
}

func TestDiffIsWhatTheFilesSay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := gitobjecttest.NewStore(gitobject.SHA1)
		a, b := drawLeaves(t, s), drawLeaves(t, s)
		under := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "a/b", "a.b", "b", "a/a/a", "c"}), 0, 3).Draw(t, "under")
		from, to := s.PutEntries(a), s.PutEntries(b)

		want := expected(a, b, under)
		got := changes(t, s, from, to, under...)
		if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("Diff(%v): -want, +got:\n%s", under, diff)
		}
		back := changes(t, s, to, from, under...)
		for i := range back {
			back[i].From, back[i].To = back[i].To, back[i].From
		}
		if diff := gocmp.Diff(got, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("Diff is not symmetric: -there, +back:\n%s", diff)
		}
	})
}

// expected compares the two sides file by file.
func expected(a, b map[string]gitobject.Entry, under []string) []gitobject.Change {
	var want []gitobject.Change
	for path := range a {
		want = append(want, gitobject.Change{Path: path})
	}
	for path := range b {
		want = append(want, gitobject.Change{Path: path})
	}
	slices.SortFunc(want, func(x, y gitobject.Change) int { return cmp.Compare(x.Path, y.Path) })
	want = slices.CompactFunc(want, func(x, y gitobject.Change) bool { return x.Path == y.Path })
	for i, c := range want {
		want[i].From, want[i].To = named(a, c.Path), named(b, c.Path)
	}
	return slices.DeleteFunc(want, func(c gitobject.Change) bool {
		return c.From == c.To || !isUnder(c.Path, under)
	})
}

func named(leaves map[string]gitobject.Entry, path string) gitobject.Entry {
	e, found := leaves[path]
	if found {
		e.Name = path[strings.LastIndexByte(path, '/')+1:]
	}
	return e
}

func isUnder(path string, under []string) bool {
	for _, prefix := range under {
		if path == prefix || strings.HasPrefix(path, prefix+"/") {
			return true
		}
	}
	return len(under) == 0
}

// drawLeaves draws files in a few directories; no file is also a directory.
func drawLeaves(t *rapid.T, s *gitobjecttest.Store) map[string]gitobject.Entry {
	leaves := map[string]gitobject.Entry{}
	for range rapid.IntRange(0, 8).Draw(t, "files") {
		path := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "a.b"}), 1, 3).Draw(t, "path"), "/")
		mode := rapid.SampledFrom([]gitobject.Mode{
			gitobject.ModeFile, gitobject.ModeExec, gitobject.ModeSymlink, gitobject.ModeGitlink,
		}).Draw(t, "mode")
		content := rapid.SampledFrom([]string{"1", "2"}).Draw(t, "content")
		leaves[path] = gitobject.Entry{Mode: mode, ID: s.Put(gitobject.TypeBlob, []byte(content))}
	}
	for path := range leaves {
		for other := range leaves {
			if strings.HasPrefix(other, path+"/") {
				delete(leaves, path)
			}
		}
	}
	return leaves
}

func TestDiffReadsOnlyWhatDiffers(t *testing.T) {
	t.Parallel()
	s := gitobjecttest.NewStore(gitobject.SHA256)
	files := map[string]string{"a/1/x": "1", "a/2/x": "1", "b/1/x": "1", "c/1/x": "1"}
	from := s.PutFiles(files)
	files["a/1/x"], files["c/1/x"] = "2", "2"
	to := s.PutFiles(files)

	before := s.Reads()
	changes(t, s, from, from)
	if got := s.Reads() - before; got != 0 {
		t.Errorf("equal trees cost %d reads", got)
	}
	before = s.Reads()
	if got := changes(t, s, from, to, "a"); len(got) != 1 {
		t.Errorf("Diff(a) = %v, want one change", got)
	}
	if got := s.Reads() - before; got != 6 {
		t.Errorf("three levels on two sides cost %d reads, want 6", got)
	}
}

func TestDiffEnds(t *testing.T) {
	t.Parallel()
	s := gitobjecttest.NewStore(gitobject.SHA1)
	deep := strings.Repeat("d/", gitobject.MaxDepth+1) + "x"
	tooDeep, root := s.PutFiles(map[string]string{deep: "1"}), s.PutFiles(map[string]string{"a": "1", "b": "2"})
	errBoom := errors.New("boom")
	boom := func(gitobject.Change) error { return errBoom }
	absent, err := gitobject.Hash(gitobject.SHA1, gitobject.TypeTree, []byte("absent"))
	if err != nil {
		t.Fatal(err)
	}

	cases := map[string]struct {
		reason string
		to     gitobject.ID
		under  []string
		want   error
	}{
		"Visit":   {"the visitor may end the walk", root, nil, errBoom},
		"Absent":  {"a tree that cannot be read ends it", absent, nil, gitobjecttest.ErrAbsent},
		"TooDeep": {"depth has a bound", tooDeep, nil, gitobject.ErrMalformed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := gitobject.Diff(t.Context(), s, gitobject.ID{}, tc.to, tc.under, boom)
			if !errors.Is(err, tc.want) {
				t.Errorf("%s: Diff(...): %v, want %v", tc.reason, err, tc.want)
			}
		})
	}
	if err := gitobject.Diff(t.Context(), s, root, root, []string{"a/../b"}, boom); err == nil {
		t.Error("Diff took a path that is not clean")
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	s := gitobjecttest.NewStore(gitobject.SHA1)
	root := s.PutFiles(map[string]string{"a/b/c": "1", "a/b.c": "2", "d": "3"})
	type want struct {
		Mode      gitobject.Mode
		Found, OK bool
	}
	cases := map[string]struct {
		reason string
		root   gitobject.ID
		path   string
		want   want
	}{
		"Empty":     {"the empty path is the root", root, "", want{gitobject.ModeDir, true, true}},
		"Dot":       {"so is the dot", root, ".", want{gitobject.ModeDir, true, true}},
		"File":      {"a file at any depth", root, "a/b/c", want{gitobject.ModeFile, true, true}},
		"Directory": {"a directory", root, "a/b", want{gitobject.ModeDir, true, true}},
		"Absent":    {"nothing there", root, "a/x", want{0, false, true}},
		"BelowFile": {"a file holds nothing", root, "d/x", want{0, false, true}},
		"Parent":    {"steps up are refused", root, "a/../d", want{}},
		"Slash":     {"so is an absolute path", root, "/a", want{}},
		"Trailing":  {"and a slash at the end", root, "a/", want{}},
		"ZeroRoot":  {"the zero id is an empty tree", gitobject.ID{}, "a", want{0, false, true}},
		"TooDeep":   {"depth has a bound", root, strings.Repeat("a/", gitobject.MaxDepth+1) + "a", want{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entry, found, err := gitobject.Lookup(t.Context(), s, tc.root, tc.path)
			got := want{Mode: entry.Mode, Found: found, OK: err == nil}
			if diff := gocmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: Lookup(%q): -want, +got:\n%s", tc.reason, tc.path, diff)
			}
		})
	}
}

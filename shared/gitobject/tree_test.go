package gitobject

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestDecodeEncodeTreeIsIdentity(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := drawAlgorithm(t)
		tree := drawTree(t, a)
		raw := tree.Encode()
		got, err := DecodeTree(a, raw)
		if err != nil {
			t.Fatalf("DecodeTree(Encode(tree)): %v", err)
		}
		if diff := cmp.Diff(tree, got); diff != "" {
			t.Fatalf("DecodeTree(Encode(tree)): -want, +got:\n%s", diff)
		}
		for _, want := range tree {
			if got, found := tree.Lookup(want.Name); !found || got != want {
				t.Fatalf("Lookup(%q) = %v, %t", want.Name, got, found)
			}
		}
	})
}

func TestDecodeTreeRefusesCutContent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := drawAlgorithm(t)
		tree := drawTree(t, a)
		raw := tree.Encode()
		if len(raw) == 0 {
			return
		}
		at := rapid.IntRange(1, len(raw)-1).Draw(t, "at")
		got, err := DecodeTree(a, raw[:at])
		if err == nil && !bytes.Equal(got.Encode(), raw[:at]) {
			t.Fatalf("a cut tree decoded to something else: %v", got)
		}
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatalf("DecodeTree(...): %v, want %v", err, ErrMalformed)
		}
	})
}

func TestLookupAbsent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tree := drawTree(t, SHA1)
		name := drawName(t)
		held := false
		for _, e := range tree {
			held = held || e.Name == name
		}
		if _, found := tree.Lookup(name); found != held {
			t.Fatalf("Lookup(%q) = %t, want %t", name, found, held)
		}
	})
}

func TestNewTreeRefuses(t *testing.T) {
	t.Parallel()
	id, err := Hash(SHA1, TypeBlob, nil)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason  string
		entries []Entry
	}{
		"Twice": {"one name, one entry", []Entry{{ModeFile, "a", id}, {ModeExec, "a", id}}},
		"FileAndDirectory": {
			"also when others sort between",
			[]Entry{{ModeFile, "a", id}, {ModeFile, "a.b", id}, {ModeDir, "a", id}},
		},
		"Mode":    {"group-writable files are history", []Entry{{0o100664, "a", id}}},
		"NullID":  {"nothing has the null id", []Entry{{ModeFile, "a", ID{algorithm: SHA1}}}},
		"TooLong": {"names have a bound", []Entry{{ModeFile, string(make([]byte, MaxNameLength+1)), id}}},
		"TooMany": {"trees have a bound", make([]Entry, MaxTreeEntries+1)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := NewTree(tc.entries); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: NewTree(...): %v, want %v", tc.reason, err, ErrMalformed)
			}
		})
	}
}

// drawName prefers names that sort in surprising ways next to a slash.
func drawName(t *rapid.T) string {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"a", "a.", "a-b", "a.b", "a0", "ab", "A", "é", "\xff", "a b", "~"}),
		rapid.StringMatching(`[a-c][-.0a]{0,3}`),
	).Draw(t, "name")
}

func drawMode(t *rapid.T) Mode {
	return rapid.SampledFrom([]Mode{ModeDir, ModeFile, ModeExec, ModeSymlink, ModeGitlink}).Draw(t, "mode")
}

func drawTree(t *rapid.T, a Algorithm) Tree {
	byName := map[string]Entry{}
	for range rapid.IntRange(0, 12).Draw(t, "entries") {
		e := Entry{Mode: drawMode(t), Name: drawName(t), ID: drawID(t, a)}
		byName[e.Name] = e
	}
	entries := make([]Entry, 0, len(byName))
	for _, e := range byName {
		entries = append(entries, e)
	}
	tree, err := NewTree(entries)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

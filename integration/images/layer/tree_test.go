package layer

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	file := Entry{Mode: 0o644}
	cases := map[string]struct {
		reason string
		name   string
		entry  Entry
	}{
		"Absolute":    {reason: "An archive must not choose the root.", name: "/etc/passwd", entry: file},
		"Parent":      {reason: "An archive must not leave the root.", name: "usr/../../etc/passwd", entry: file},
		"ParentInto":  {reason: "Even where it would come back.", name: "usr/../etc/passwd", entry: file},
		"ThroughLink": {reason: "A link could lead anywhere.", name: "link/passwd", entry: file},
		"ThroughFile": {reason: "No file is a folder.", name: "file/passwd", entry: file},
		"NUL":         {reason: "Other readers would stop there.", name: "a\x00b", entry: file},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tree Tree
			if err := errors.Join(tree.Link("link", "/etc"), tree.File("file", nil)); err != nil {
				t.Fatal(err)
			}
			if err := tree.Add(tc.name, tc.entry); !errors.Is(err, ErrUnsafe) {
				t.Errorf("%s: Add(%q): %v, want ErrUnsafe", tc.reason, tc.name, err)
			}
		})
	}
}

func TestAddRefusesKinds(t *testing.T) {
	t.Parallel()
	var tree Tree
	if err := tree.Add("dev/null", Entry{Mode: fs.ModeDevice | 0o666}); err == nil {
		t.Error("Add(a device): no error")
	}
	if err := errors.Join(tree.File("a/b", nil), tree.File("a", nil)); err == nil {
		t.Error("Add(a file where a folder is): no error")
	}
}

func TestAddDropsSetUID(t *testing.T) {
	t.Parallel()
	var tree Tree
	if err := tree.Add("ssh-keysign", Entry{Mode: fs.ModeSetuid | 0o755}); err != nil {
		t.Fatal(err)
	}
	if entry, _ := tree.Get("ssh-keysign"); entry.Mode != 0o755 {
		t.Errorf("mode %v, want 0755: nothing in an image gains privileges", entry.Mode)
	}
}

func TestLayerDependsOnTreeAlone(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	digest := func(names []string, at time.Time) string {
		var tree Tree
		for _, name := range names {
			if err := tree.File(name, []byte(name)); err != nil {
				t.Fatal(err)
			}
		}
		layer, err := tree.Layer(at)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := layer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return digest.String()
	}
	first := digest([]string{"b/c", "a"}, at)
	if second := digest([]string{"a", "b/c"}, at.Add(time.Millisecond).In(time.FixedZone("", 3600))); first != second {
		t.Errorf("another order, zone and fraction of a second: %s, want %s", second, first)
	}
	if other := digest([]string{"a", "b/d"}, at); first == other {
		t.Error("another name gives the same layer")
	}
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	var tree Tree
	if err := errors.Join(tree.Program("usr/bin/dash", []byte("x")), tree.Link("bin", "usr/bin")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := tree.Unpack(dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "bin", "dash"))
	if err != nil || info.Mode() != 0o755 {
		t.Errorf("bin/dash through the link: %v, %v, want a program", info, err)
	}
}

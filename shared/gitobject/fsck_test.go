package gitobject_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// complaint is a line of `git fsck --strict` about what an object says.
var complaint = regexp.MustCompile(
	`(?m)^(?:(?:error|warning|info) in \w+ ([0-9a-f]+): (\w+)|error: ([0-9a-f]+): object could not be parsed)`)

// harmless are complaints about what is allowed, or about another object.
var harmless = []string{"missingTaggerEntry", "gitattributesSymlink", "gitmodulesBlob", "gitattributesBlob"}

// complaints stores objects as they are and returns what git finds wrong with
// each. It is one run of git for all of them.
func complaints(r repository, typ gitobject.Type, raws map[string]string) map[string]string {
	r.t.Helper()
	ids := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(raws)) {
		id := r.git([]byte(raws[name]), "hash-object", "-t", typ.String(), "-w", "--stdin", "--literally")
		ids[id] = name
	}
	out, _ := r.run(nil, "fsck", "--strict")
	found := map[string]string{}
	for _, match := range complaint.FindAllStringSubmatch(out, -1) {
		if !slices.Contains(harmless, match[2]) {
			found[ids[match[1]+match[3]]] += " " + match[2]
		}
	}
	return found
}

// agree compares the verdicts of git with ours. The names in stricter are what
// only we refuse.
func agree(t *testing.T, found, raws map[string]string, stricter []string, decode func(raw string) error) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(raws)) {
		err := decode(raws[name])
		switch {
		case found[name] != "" && err == nil:
			t.Errorf("%s: git complains of%s, we do not", name, found[name])
		case found[name] == "" && err != nil && !slices.Contains(stricter, name):
			t.Errorf("%s: git does not complain, we say: %v", name, err)
		case slices.Contains(stricter, name) && err == nil:
			t.Errorf("%s: decoded, though it must not", name)
		}
	}
}

func TestTreesAreAsGitWantsThem(t *testing.T) {
	t.Parallel()
	r := newRepository(t, gitobject.SHA1)
	blob := r.write(gitobject.SHA1, gitobject.TypeBlob, []byte("x"))
	sub := r.write(gitobject.SHA1, gitobject.TypeTree, nil)
	entry := func(mode, name string) string {
		id := blob
		if mode == "40000" {
			id = sub
		}
		return mode + " " + name + "\x00" + string(id.Bytes())
	}
	raws := map[string]string{
		"file":               entry("100644", "a"),
		"executable":         entry("100755", "a"),
		"empty":              "",
		"two":                entry("100644", "a") + entry("100644", "b"),
		"unsorted":           entry("100644", "b") + entry("100644", "a"),
		"twice":              entry("100644", "a") + entry("100644", "a"),
		"file and directory": entry("100644", "a") + entry("100644", "a.b") + entry("40000", "a"),
		"directory order":    entry("100644", "a.b") + entry("40000", "a"),
		"file order":         entry("100644", "a") + entry("100644", "a.b"),
		"bad file order":     entry("100644", "a.b") + entry("100644", "a"),
		"padded mode":        entry("0100644", "a"),
		"padded directory":   entry("040000", "a"),
		"group writable":     entry("100664", "a"),
		"no mode":            entry("0", "a"),
		"other mode":         entry("100600", "a"),
		"null":               "100644 a\x00" + strings.Repeat("\x00", 20),
		"path":               entry("100644", "a/b"),
		"long name":          entry("100644", strings.Repeat("a", 5000)),
	}
	names := []string{
		"", ".", "..", "...", ".git", ".GIT", ".gIt", "git", ".gitx", ".git ", ".git.", ".git. .", ".git x",
		"git~1", "GIT~1", "git~2", "git~1 ", "git~1x", ".git:stream", ".gitmodules", ".gitattributes",
		".g\u200cit", "\ufeff.git", ".git\u206f", ".g\u0131t", ".git\xff", ".g\xffit", "\u200c", "x\u200c",
		`a\b`, `a\.git`, `.git\a`, `a\.git\b`, `a\git~1`, `\`, ".GITMODULES", ".gitmodules ", "gitmod~1", "GITMOD~4",
		"gitmod~5", "gi7eba~1", "gi7eb~10", "gi7eba~0", "~1234567", "gi7eba~9 ", ".g\u200citmodules", `a\.gitmodules`,
	}
	for _, name := range names {
		raws[fmt.Sprintf("file %q", name)] = entry("100644", name)
		raws[fmt.Sprintf("directory %q", name)] = entry("40000", name)
		raws[fmt.Sprintf("link %q", name)] = entry("120000", name)
	}
	found := complaints(r, gitobject.TypeTree, raws)
	if len(found) == 0 {
		t.Fatal("git found nothing wrong with anything")
	}
	stricter := []string{"long name"}
	agree(t, found, raws, stricter, func(raw string) error {
		tree, err := gitobject.DecodeTree(gitobject.SHA1, []byte(raw))
		if err == nil && string(tree.Encode()) != raw {
			t.Errorf("Encode(Decode(%q)) = %q", raw, tree.Encode())
		}
		return err
	})
}

func TestCommitsAreAsGitWantsThem(t *testing.T) {
	t.Parallel()
	r := newRepository(t, gitobject.SHA1)
	tree := r.write(gitobject.SHA1, gitobject.TypeTree, nil).String()
	const who = "A <a@b> 1700000000 +0100"
	head := "tree " + tree + "\n"
	commit := func(author, more string) string {
		return head + "author " + author + "\ncommitter " + who + "\n" + more
	}
	raws := map[string]string{
		"plain":             commit(who, "\nmessage\n"),
		"no message":        commit(who, "\n"),
		"unfinished":        commit(who, "\nmessage"),
		"headers":           commit(who, "encoding x\ngpgsig a\n b\n \n c\n\nm\n"),
		"headers after":     commit(who, "gpgsig a\n b\nencoding x\n\nm\n"),
		"both signatures":   commit(who, "gpgsig a\ngpgsig-sha256 b\n\nm\n"),
		"empty name":        commit(" <a@b> 1 +0000", "\n"),
		"empty address":     commit("A <> 1 +0000", "\n"),
		"odd zone":          commit("A <a@b> 1 -0000", "\n"),
		"wild zone":         commit("A <a@b> 1 +9999", "\n"),
		"the epoch":         commit("A <a@b> 0 +0000", "\n"),
		"no name":           commit("<a@b> 1 +0000", "\n"),
		"no space":          commit("A<a@b> 1 +0000", "\n"),
		"no address":        commit("A 1 +0000", "\n"),
		"open address":      commit("A <a@b 1 +0000", "\n"),
		"two addresses":     commit("A <a@b> <c@d> 1 +0000", "\n"),
		"bracket in name":   commit("A> <a@b> 1 +0000", "\n"),
		"padded time":       commit("A <a@b> 01 +0000", "\n"),
		"no time":           commit("A <a@b>", "\n"),
		"not a time":        commit("A <a@b> x +0000", "\n"),
		"endless time":      commit("A <a@b> 99999999999999999999 +0000", "\n"),
		"short zone":        commit("A <a@b> 1 +000", "\n"),
		"long zone":         commit("A <a@b> 1 +00000", "\n"),
		"no zone":           commit("A <a@b> 1", "\n"),
		"unsigned zone":     commit("A <a@b> 1 00000", "\n"),
		"two authors":       head + "author " + who + "\nauthor " + who + "\ncommitter " + who + "\n\n",
		"no author":         head + "committer " + who + "\n\n",
		"no committer":      head + "author " + who + "\n\n",
		"no tree":           "author " + who + "\ncommitter " + who + "\n\n",
		"short tree":        "tree " + tree[1:] + "\nauthor " + who + "\ncommitter " + who + "\n\n",
		"parent":            head + "parent x\nauthor " + who + "\ncommitter " + who + "\n\n",
		"NUL":               commit(who, "\na\x00b\n"),
		"NUL in header":     commit(who, "a b\x00c\n\n"),
		"nothing":           "",
		"no blank line":     commit(who, ""),
		"upper case":        "tree " + strings.ToUpper(tree) + "\nauthor " + who + "\ncommitter " + who + "\n\n",
		"two signatures":    commit(who, "gpgsig a\ngpgsig b\n\n"),
		"unknown signature": commit(who, "gpgsig-sha3 a\n\n"),
		"late parent":       commit(who, "parent "+tree+"\n\n"),
		"no value":          commit(who, "header\n\n"),
		"year 10000":        commit("A <a@b> 253402300800 +0000", "\n"),
	}
	stricter := []string{
		"no blank line", "upper case", "two signatures", "unknown signature", "late parent", "no value", "year 10000",
	}
	found := complaints(r, gitobject.TypeCommit, raws)
	agree(t, found, raws, stricter, func(raw string) error {
		c, err := gitobject.DecodeCommit(gitobject.SHA1, []byte(raw))
		if err == nil && string(c.Encode()) != raw {
			t.Errorf("Encode(Decode(%q)) = %q", raw, c.Encode())
		}
		return err
	})
}

func TestTagsAreAsGitWantsThem(t *testing.T) {
	t.Parallel()
	r := newRepository(t, gitobject.SHA1)
	tree := r.write(gitobject.SHA1, gitobject.TypeTree, nil).String()
	const who = "A <a@b> 1700000000 +0100"
	tag := func(kind, name, more string) string {
		return "object " + tree + "\ntype " + kind + "\ntag " + name + "\n" + more
	}
	raws := map[string]string{
		"plain":      tag("tree", "v1", "tagger "+who+"\n\nmessage\n"),
		"slash":      tag("tree", "v/1", "tagger "+who+"\n\nmessage\n"),
		"signed":     tag("tree", "v1", "tagger "+who+"\n\nmessage\n-----BEGIN SSH SIGNATURE-----\nx\n"),
		"kind":       tag("branch", "v1", "tagger "+who+"\n\n"),
		"no kind":    "object " + tree + "\ntag v1\ntagger " + who + "\n\n",
		"no name":    "object " + tree + "\ntype tree\ntagger " + who + "\n\n",
		"bad tagger": tag("tree", "v1", "tagger A\n\n"),
		"header":     tag("tree", "v1", "tagger "+who+"\nmore x\n\n"),
		"no tagger":  tag("tree", "v1", "\nmessage\n"),
		"NUL":        tag("tree", "v1", "tagger "+who+"\n\na\x00b\n"),
		"nothing":    "",
	}
	for _, name := range []string{"a b", "a..b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a@{b", "a~1", "a.", `a\b`, "é"} {
		raws["name "+name] = tag("tree", name, "tagger "+who+"\n\n")
	}
	found := complaints(r, gitobject.TypeTag, raws)
	agree(t, found, raws, []string{"no tagger", "NUL", "header"}, func(raw string) error {
		decoded, err := gitobject.DecodeTag(gitobject.SHA1, []byte(raw))
		if err == nil && string(decoded.Encode()) != raw {
			t.Errorf("Encode(Decode(%q)) = %q", raw, decoded.Encode())
		}
		return err
	})
}

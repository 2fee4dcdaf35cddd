package gitobject

import (
	"strings"
	"unicode/utf8"
)

// checkName refuses what fsck refuses as the name of an entry: nothing, a
// path, a step out of the directory, and whatever some file system takes for
// the repository's own directory.
func checkName(name string, mode Mode) error {
	switch {
	case name == "":
		return malformed("entry has no name")
	case len(name) > MaxNameLength:
		return malformed("entry name of %d bytes is longer than %d", len(name), MaxNameLength)
	case strings.ContainsAny(name, "/\x00"):
		return malformed("entry name %q contains a slash or NUL", clip(name))
	case name == "." || name == "..":
		return malformed("entry is named %q", name)
	}
	return checkReserved(name, mode)
}

// checkReserved walks the pieces between backslashes, which Windows takes for
// separators.
func checkReserved(name string, mode Mode) error {
	for rest := name; ; {
		if isHFSDot(rest, "git") || isNTFSDotGit(rest) {
			return malformed("entry name %q is equivalent to \".git\"", clip(name))
		}
		if mode == ModeSymlink && (isHFSDot(rest, "gitmodules") || isNTFSDotGitmodules(rest)) {
			return malformed("entry name %q is a symbolic link equivalent to \".gitmodules\"", clip(name))
		}
		_, after, found := strings.Cut(rest, `\`)
		if !found {
			return nil
		}
		rest = after
	}
}

// isHFSDot tells whether HFS+ takes name for "." followed by word: it folds
// case and ignores some code points. Ill-formed UTF-8 ends a name, as in Git.
func isHFSDot(name, word string) bool {
	want := "." + word
	for len(want) > 0 {
		r, size := nextHFS(name)
		if r >= utf8.RuneSelf || lower(byte(r)) != want[0] {
			return false
		}
		name, want = name[size:], want[1:]
	}
	r, _ := nextHFS(name)
	return r == 0
}

// nextHFS is the next rune HFS+ looks at and the bytes up to its end; zero at
// the end of the name.
func nextHFS(name string) (rune, int) {
	for at := 0; at < len(name); {
		r, size := utf8.DecodeRuneInString(name[at:])
		if r == utf8.RuneError && size <= 1 {
			return 0, at
		}
		at += size
		if !isIgnoredByHFS(r) {
			return r, at
		}
	}
	return 0, len(name)
}

func isIgnoredByHFS(r rune) bool {
	return r >= 0x200c && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x206a && r <= 0x206f || r == 0xfeff
}

// isNTFSDotGit tells whether NTFS takes name for ".git": it folds case, knows
// the short name, and drops trailing dots, spaces and stream names.
func isNTFSDotGit(name string) bool {
	for _, word := range []string{".git", "git~1"} {
		if hasFoldedPrefix(name, word) && endsNTFS(name[len(word):]) {
			return true
		}
	}
	return false
}

// isNTFSDotGitmodules does the same for ".gitmodules", whose short name is
// numbered or, after four of them, hashed.
func isNTFSDotGitmodules(name string) bool {
	if hasFoldedPrefix(name, ".gitmodules") && endsNTFS(name[len(".gitmodules"):]) {
		return true
	}
	const short = 8
	if len(name) < short || !endsNTFS(name[short:]) {
		return false
	}
	if hasFoldedPrefix(name, "gitmod~") {
		return name[7] >= '1' && name[7] <= '4'
	}
	return isHashedShortName(name[:short], "gi7eba")
}

// isHashedShortName matches a prefix of word, a tilde and digits.
func isHashedShortName(name, word string) bool {
	tilde := strings.IndexByte(name, '~')
	if tilde < 0 || tilde > len(word) || tilde+1 >= len(name) || !hasFoldedPrefix(word, name[:tilde]) {
		return false
	}
	digits := name[tilde+1:]
	return digits[0] != '0' && strings.Trim(digits, "0123456789") == ""
}

func endsNTFS(rest string) bool {
	rest = strings.TrimLeft(rest, ". ")
	return rest == "" || rest[0] == '\\' || rest[0] == ':'
}

func hasFoldedPrefix(s, prefix string) bool {
	if len(s) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if lower(s[i]) != lower(prefix[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

package gitobject

import (
	"bytes"
	"errors"
	"testing"
)

const fuzzWho = "A <a@b> 1700000000 +0100\n"

func FuzzDecodeTree(f *testing.F) {
	id := bytes.Repeat([]byte{7}, sha256Size)
	for _, entry := range []string{"40000 a\x00", "100644 .git\x00", "100644 a/b\x00", "0100644 a\x00", "160000 \x00", "\x00", ""} {
		f.Add(append([]byte(entry), id[:sha1Size]...), false)
		f.Add(append([]byte(entry), id...), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, long bool) {
		tree, err := DecodeTree(algorithm(long), raw)
		if err == nil {
			if !bytes.Equal(tree.Encode(), raw) {
				t.Errorf("Encode(Decode(%q)) = %q", raw, tree.Encode())
			}
			if _, err := NewTree(tree); err != nil {
				t.Errorf("NewTree refuses what decoded: %v", err)
			}
		}
		checkKind(t, err)
	})
}

func FuzzDecodeCommit(f *testing.F) {
	head := "tree " + string(bytes.Repeat([]byte("07"), sha1Size)) + "\n"
	f.Add([]byte(head+"author "+fuzzWho+"committer "+fuzzWho+"\nmessage\n\nA: b\n"), false)
	f.Add([]byte(head+"author "+fuzzWho+"committer "+fuzzWho+"gpgsig a\n b\nencoding c\n\n"), false)
	f.Add([]byte(head+"parent x\n"), true)
	f.Add([]byte("tree \n\n"), true)
	f.Fuzz(func(t *testing.T, raw []byte, long bool) {
		c, err := DecodeCommit(algorithm(long), raw)
		if err == nil {
			if !bytes.Equal(c.Encode(), raw) {
				t.Errorf("Encode(Decode(%q)) = %q", raw, c.Encode())
			}
			c.Trailers()
			c.SignedPayload()
		}
		checkKind(t, err)
	})
}

func FuzzDecodeTag(f *testing.F) {
	head := "object " + string(bytes.Repeat([]byte("07"), sha1Size)) + "\ntype commit\ntag v1\ntagger " + fuzzWho
	f.Add([]byte(head+"\nmessage\n"), false)
	f.Add([]byte(head+"\nmessage\n-----BEGIN SSH SIGNATURE-----\n-----BEGIN PGP SIGNATURE-----\n"), false)
	f.Add([]byte(head+"more x\n\n"), true)
	f.Fuzz(func(t *testing.T, raw []byte, long bool) {
		tag, err := DecodeTag(algorithm(long), raw)
		if err == nil {
			if !bytes.Equal(tag.Encode(), raw) {
				t.Errorf("Encode(Decode(%q)) = %q", raw, tag.Encode())
			}
			tag.Trailers()
			tag.SignedPayload()
		}
		checkKind(t, err)
	})
}

func FuzzVerifySSH(f *testing.F) {
	payload := []byte("payload")
	good, err := SignSSH(newEd25519(f), payload)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload, good)
	f.Add(payload, good[:len(good)/2])
	f.Add(payload, []byte("-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQ==\n-----END SSH SIGNATURE-----\n"))
	f.Fuzz(func(t *testing.T, payload, armored []byte) {
		key, err := VerifySSH(payload, armored)
		if (key == nil) != (err != nil) {
			t.Errorf("VerifySSH(...) = %v, %v", key, err)
		}
	})
}

func FuzzParseTrailers(f *testing.F) {
	f.Add("title\n\nA: 1\n  2\nB :3\n")
	f.Add("title\n\nbody\nSigned-off-by: a\n# c\n\nConflicts:\n\tx")
	f.Fuzz(func(t *testing.T, message string) {
		for _, trailer := range ParseTrailers(message) {
			if trailer.Key == "" || trimSpace(trailer.Value) != trailer.Value {
				t.Errorf("ParseTrailers(%q): %+v", message, trailer)
			}
		}
	})
}

func algorithm(long bool) Algorithm {
	if long {
		return SHA256
	}
	return SHA1
}

func checkKind(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, ErrMalformed) {
		t.Errorf("error of another kind: %v", err)
	}
}

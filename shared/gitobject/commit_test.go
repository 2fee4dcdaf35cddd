package gitobject

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestDecodeEncodeCommitIsIdentity(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := drawAlgorithm(t)
		want := drawCommit(t, a)
		raw := want.Encode()
		got, err := DecodeCommit(a, raw)
		if err != nil {
			t.Fatalf("DecodeCommit(%q): %v", raw, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("DecodeCommit(Encode(c)): -want, +got:\n%s", diff)
		}
		if again := got.Encode(); !bytes.Equal(raw, again) {
			t.Fatalf("Encode(DecodeCommit(raw)): -want, +got:\n%s", cmp.Diff(string(raw), string(again)))
		}
	})
}

func TestSignatureCoversAllButItself(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := drawCommit(t, drawAlgorithm(t))
		payload := c.SignedPayload()
		c.Signature = []byte("other\n")
		c.Extra = append(c.Extra, Header{Key: otherSignature(c.Tree.Algorithm()), Value: "more"})
		if got := c.SignedPayload(); !bytes.Equal(payload, got) {
			t.Fatalf("SignedPayload(): -unsigned, +signed:\n%s", cmp.Diff(string(payload), string(got)))
		}
		c.Message += "!"
		if bytes.Equal(payload, c.SignedPayload()) {
			t.Fatal("SignedPayload() does not cover the message")
		}
	})
}

func otherSignature(a Algorithm) string {
	if a == SHA1 {
		return signatureSHA256
	}
	return signatureSHA1
}

// A commit is built from what users and registries say. Whatever that is, it
// stays where it belongs.
func TestNoTextAddsAHeader(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := drawAlgorithm(t)
		text := rapid.StringOf(rapid.RuneFrom([]rune("ab <>\n\x00:.é")))
		who := func(label string) Person {
			seconds := rapid.Int64().Draw(t, label+" time")
			return Person{Name: text.Draw(t, label), Email: text.Draw(t, label), When: time.Unix(seconds, 0)}
		}
		built := &Commit{Tree: drawID(t, a), Author: who("author"), Committer: who("committer"), Message: text.Draw(t, "message")}
		got, err := DecodeCommit(a, built.Encode())
		if err != nil {
			t.Fatalf("DecodeCommit(%q): %v", built.Encode(), err)
		}
		if len(got.Extra) > 0 || got.Signature != nil || len(got.Parents) > 0 || got.Tree != built.Tree {
			t.Fatalf("text became a header: %+v", got)
		}

		tag := &Tag{Object: built.Tree, Type: TypeTree, Name: "v1", Tagger: who("tagger"), Message: text.Draw(t, "message")}
		if _, err := DecodeTag(a, tag.Encode()); err != nil {
			t.Fatalf("DecodeTag(%q): %v", tag.Encode(), err)
		}
	})
}

func TestDecodeEncodeTagIsIdentity(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := drawAlgorithm(t)
		want := &Tag{
			Object: drawID(t, a), Type: rapid.SampledFrom([]Type{TypeCommit, TypeTree, TypeBlob, TypeTag}).Draw(t, "type"),
			Name: rapid.SampledFrom([]string{"v1", "a/b", "ü"}).Draw(t, "name"), Tagger: drawPerson(t),
			Message: drawText(t),
		}
		if rapid.Bool().Draw(t, "signed") {
			want.Message = strings.TrimSuffix(want.Message, "\n") + "\n"
			want.Signature = []byte("-----BEGIN SSH SIGNATURE-----\n" + drawText(t))
		}
		got, err := DecodeTag(a, want.Encode())
		if err != nil {
			t.Fatalf("DecodeTag(%q): %v", want.Encode(), err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("DecodeTag(Encode(t)): -want, +got:\n%s", diff)
		}
	})
}

func drawText(t *rapid.T) string {
	return rapid.StringOf(rapid.RuneFrom([]rune("ab: \n\té-"))).Draw(t, "text")
}

func drawPerson(t *rapid.T) Person {
	text := rapid.StringOf(rapid.RuneFrom([]rune("ab. é@")))
	zone := rapid.SampledFrom([]string{"+0000", "-0000", "+0530", "-1200", "+9959"}).Draw(t, "zone")
	offset, _ := parseZone(zone)
	seconds := rapid.Int64Range(0, maxTimestamp).Draw(t, "seconds")
	return Person{
		Name: text.Draw(t, "name"), Email: text.Draw(t, "email"),
		When: time.Unix(seconds, 0).In(time.FixedZone(zone, offset)),
	}
}

func drawCommit(t *rapid.T, a Algorithm) *Commit {
	c := &Commit{Tree: drawID(t, a), Author: drawPerson(t), Committer: drawPerson(t), Message: drawText(t)}
	for range rapid.IntRange(0, 3).Draw(t, "parents") {
		c.Parents = append(c.Parents, drawID(t, a))
	}
	for range rapid.IntRange(0, 3).Draw(t, "headers") {
		key := rapid.SampledFrom([]string{"encoding", "mergetag", "HG:extra"}).Draw(t, "key")
		c.Extra = append(c.Extra, Header{Key: key, Value: drawText(t)})
	}
	if rapid.Bool().Draw(t, "signed") {
		c.Signature = []byte(drawText(t) + "\n")
		c.AfterSignature = rapid.IntRange(0, len(c.Extra)).Draw(t, "after")
	}
	return c
}

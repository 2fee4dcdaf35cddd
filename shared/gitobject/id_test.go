package gitobject

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseID(t *testing.T) {
	t.Parallel()
	type want struct {
		algorithm Algorithm
		ok        bool
	}
	cases := map[string]struct {
		reason string
		text   string
		want   want
	}{
		"SHA1":      {"forty digits are SHA-1", strings.Repeat("0a", 20), want{SHA1, true}},
		"SHA256":    {"sixty-four digits are SHA-256", strings.Repeat("0a", 32), want{SHA256, true}},
		"Short":     {"an abbreviation names nothing for sure", strings.Repeat("0a", 6), want{}},
		"Empty":     {"nothing is no id", "", want{}},
		"UpperCase": {"one id has one spelling", strings.Repeat("0A", 20), want{}},
		"NotHex":    {"other letters are refused", strings.Repeat("0g", 20), want{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, err := ParseID(tc.text)
			got := want{algorithm: id.Algorithm(), ok: err == nil}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s: ParseID(%q): -want, +got:\n%s", tc.reason, tc.text, diff)
			}
			if err == nil && id.String() != tc.text {
				t.Errorf("ParseID(%q).String() = %q", tc.text, id)
			}
		})
	}
}

func TestIDSurvivesText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := drawID(t, drawAlgorithm(t))
		text, err := id.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got ID
		if err := got.UnmarshalText(text); err != nil || got != id {
			t.Fatalf("id %s came back as %s, %v", id, got, err)
		}
		again, err := NewID(id.Algorithm(), id.Bytes())
		if err != nil || again != id || id.Compare(again) != 0 {
			t.Fatalf("id %s came back as %s, %v", id, again, err)
		}
	})
}

func TestZeroIDIsEmptyText(t *testing.T) {
	t.Parallel()
	var got ID
	if err := got.UnmarshalText(nil); err != nil || !got.IsZero() || got.String() != "" {
		t.Errorf("the zero id is %q, %v", got, err)
	}
}

func TestHashRefusesCollisions(t *testing.T) {
	t.Parallel()
	// One half of "SHA-1 is a Shambles". The attack needs the prefix it was
	// computed for, so the object header is left out here.
	attack, err := os.ReadFile("testdata/sha-mbles-1.bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sum(SHA1, attack); !errors.Is(err, ErrCollision) {
		t.Errorf("sum(SHA1, attack): %v, want %v", err, ErrCollision)
	}
	if _, err := sum(SHA256, attack); err != nil {
		t.Errorf("sum(SHA256, attack): %v", err)
	}
}

func TestHashBounds(t *testing.T) {
	t.Parallel()
	if _, err := Hash(SHA1, TypeBlob, make([]byte, MaxObjectSize+1)); !errors.Is(err, ErrMalformed) {
		t.Errorf("an oversized blob: %v, want %v", err, ErrMalformed)
	}
	if _, err := Hash(0, TypeBlob, nil); err == nil {
		t.Error("a blob hashed under no algorithm")
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	id, err := Hash(SHA1, TypeBlob, []byte("hello\n"))
	if err != nil || id.String() != "ce013625030ba8dba906f756967f9e9ca394464a" {
		t.Fatalf("Hash(hello) = %s, %v", id, err)
	}
	if err := Check(id, TypeBlob, []byte("hello\n")); err != nil {
		t.Errorf("Check of the right content: %v", err)
	}
	if err := Check(id, TypeBlob, []byte("hullo\n")); !errors.Is(err, ErrMismatch) {
		t.Errorf("Check of other content: %v, want %v", err, ErrMismatch)
	}
	if err := Check(id, TypeTree, []byte("hello\n")); !errors.Is(err, ErrMismatch) {
		t.Errorf("Check of another type: %v, want %v", err, ErrMismatch)
	}
}

func drawAlgorithm(t *rapid.T) Algorithm {
	return rapid.SampledFrom([]Algorithm{SHA1, SHA256}).Draw(t, "algorithm")
}

// drawID never draws the null id.
func drawID(t *rapid.T, a Algorithm) ID {
	sum := rapid.SliceOfN(rapid.Byte(), a.Size(), a.Size()).Draw(t, "id")
	sum[0] |= 1
	id, err := NewID(a, sum)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

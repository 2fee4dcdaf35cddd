package gitobject_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/gitobject/gitobjecttest"
)

func BenchmarkHash(b *testing.B) {
	for _, a := range algorithms() {
		for _, size := range []int{1 << 10, 1 << 20} {
			content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
			b.Run(fmt.Sprintf("%s/%d", a, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := gitobject.Hash(a, gitobject.TypeBlob, content); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkDecodeTree(b *testing.B) {
	s := gitobjecttest.NewStore(gitobject.SHA1)
	files := map[string]string{}
	for i := range 100 {
		files[fmt.Sprintf("manifest-%03d.yaml", i)] = "x"
	}
	raw := s.Raw(s.PutFiles(files))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := gitobject.DecodeTree(gitobject.SHA1, raw); err != nil {
			b.Fatal(err)
		}
	}
}

// One file of 10,000 differs, in folders of a hundred.
func BenchmarkDiff(b *testing.B) {
	s := gitobjecttest.NewStore(gitobject.SHA1)
	files := map[string]string{}
	for i := range 10_000 {
		files[fmt.Sprintf("apps/%02d/%02d.yaml", i/100, i%100)] = "x"
	}
	from := s.PutFiles(files)
	files["apps/50/50.yaml"] = "y"
	to := s.PutFiles(files)
	b.ReportAllocs()
	for b.Loop() {
		seen := 0
		visit := func(gitobject.Change) error { seen++; return nil }
		if err := gitobject.Diff(b.Context(), s, from, to, []string{"apps"}, visit); err != nil || seen != 1 {
			b.Fatal(seen, err)
		}
	}
}

func BenchmarkSSH(b *testing.B) {
	key := gitobjecttest.NewKey("bench")
	payload := bytes.Repeat([]byte("x"), 512)
	armored, err := gitobject.SignSSH(key.Signer, payload)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			if _, err := gitobject.SignSSH(key.Signer, payload); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if _, err := gitobject.VerifySSH(payload, armored); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package policy

import (
	"fmt"
	"testing"
)

// manyTags is a repository as large as they come: releases, pre-releases,
// variants, signatures and tags of every commit.
func manyTags() []string {
	tags := make([]string, 0, 50_000)
	for i := 0; len(tags) < cap(tags); i++ {
		tags = append(tags,
			fmt.Sprintf("v%d.%d.%d", i/400, i/20%20, i%20),
			fmt.Sprintf("%d.%d.%d-rc.%d", i/400, i/20%20, i%20, i%7),
			fmt.Sprintf("%d.%d.%d-alpine", i/400, i/20%20, i%20),
			fmt.Sprintf("sha256-%064x.sig", i),
			fmt.Sprintf("main-%040x", i),
		)
	}
	return tags
}

func BenchmarkSelect50000(b *testing.B) {
	in := input("v3.1.2", manyTags()...)
	configs := map[string]Config{
		"Newest":      {},
		"Range":       {Semver: ">=1.0.0 <20.0.0"},
		"Expressions": {Semver: ">=1.0.0-0 <20.0.0", Allow: []string{`^v?\d+\.\d+\.\d+$`}, Deny: []string{"-rc", "^sha256-"}},
	}
	for name, config := range configs {
		b.Run(name, func(b *testing.B) {
			p := mustNew(b, config)
			b.ReportAllocs()
			for b.Loop() {
				if s, _ := Select(p, in); !s.Changed {
					b.Fatal(s.Reason)
				}
			}
		})
	}
}

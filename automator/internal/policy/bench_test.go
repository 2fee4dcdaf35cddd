package policy

import (
	"fmt"
	"sort"
	"testing"

	"github.com/Masterminds/semver/v3"
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
	in.Tags = sorted(in.Tags) // as the scanner has them
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

// BenchmarkNaive50000 is what one would write first: every tag through the library's parser, then a sort. It knows neither
// variants nor precision, and gives no reasons.
func BenchmarkNaive50000(b *testing.B) {
	tags := manyTags()
	constraint, err := semver.NewConstraint(">=1.0.0 <20.0.0")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var versions semver.Collection
		for _, tag := range tags {
			if v, err := semver.NewVersion(tag); err == nil && constraint.Check(v) {
				versions = append(versions, v)
			}
		}
		sort.Sort(versions)
		if len(versions) == 0 {
			b.Fatal("nothing is in range")
		}
	}
}

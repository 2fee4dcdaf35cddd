package render

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/shared/fault"
)

func pointers(objects []Desired) []*Desired {
	list := make([]*Desired, len(objects))
	for i := range objects {
		list[i] = &objects[i]
	}
	return list
}

// bundles renders files of as many ConfigMaps each, and forgets them.
func bundles(t testing.TB, files, each int) (*memory, []Desired) {
	t.Helper()
	tree := map[string]string{}
	for i := range files {
		var bundle strings.Builder
		for n := range each {
			bundle.WriteString("---\n" + configMap(fmt.Sprintf("m-%d-%d", i, n)))
		}
		tree[fmt.Sprintf("app/%d.yaml", i)] = bundle.String()
	}
	git := &memory{}
	result, err := Tree(t.Context(), git, git.add(t, tree), "app", nil)
	if err != nil {
		t.Fatal(err)
	}
	result.Forget()
	git.reads = 0
	return git, result.Objects
}

func TestLoadReadsAFileOnce(t *testing.T) {
	t.Parallel()
	git, objects := bundles(t, 3, 40)
	if err := Load(t.Context(), git, pointers(objects)); err != nil || git.reads != 3 {
		t.Errorf("Load(120 objects of 3 files): read %d blobs, %v; want 3", git.reads, err)
	}
	for _, d := range objects {
		if d.Object == nil || d.Object.GetName() != d.Key.Name {
			t.Errorf("Load(%s): got %v", d.Key, d.Object)
		}
	}
	git.reads = 0
	if err := Load(t.Context(), git, pointers(objects)); err != nil || git.reads != 0 {
		t.Errorf("Load(what was not forgotten): read %d blobs, %v; want 0", git.reads, err)
	}
}

func TestLoadGivesBackOnlyWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	git, objects := bundles(t, 2, 3)
	if err := Load(t.Context(), git, pointers(objects[1:2])); err != nil || git.reads != 1 {
		t.Errorf("Load(one object): read %d blobs, %v; want 1", git.reads, err)
	}
	for i, d := range objects {
		if (d.Object != nil) != (i == 1) {
			t.Errorf("%s: loaded %v", d.Key, d.Object != nil)
		}
	}
}

func TestLoadNamesWhatIsNotThere(t *testing.T) {
	t.Parallel()
	git, objects := bundles(t, 1, 2)
	objects[1].Hash[0]++
	err := Load(t.Context(), git, pointers(objects))
	if !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), objects[1].Key.Name) {
		t.Errorf("Load(another object than the file has): got %v", err)
	}
}

// BenchmarkLoad shows that the time for an object does not grow with its file.
func BenchmarkLoad(b *testing.B) {
	for _, size := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			git, objects := bundles(b, 1, size)
			for b.Loop() {
				result := Result{Objects: objects}
				result.Forget()
				if err := Load(b.Context(), git, pointers(objects)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/object")
		})
	}
}

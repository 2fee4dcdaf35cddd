package rules

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// goMod is the part of a go.mod or go.work file that the rules read.
type goMod struct {
	Go        string
	Toolchain string
	Require   []struct {
		Path     string
		Version  string
		Indirect bool
	}
	Replace []struct {
		Old, New struct{ Path, Version string }
	}
	Use []struct{ DiskPath string }
}

func goModOf(t *testing.T, module string) goMod {
	t.Helper()
	return decoded(t, "mod", module+"/go.mod")
}

func decoded(t *testing.T, kind, file string) goMod {
	t.Helper()
	var mod goMod
	if err := json.Unmarshal(run(t, "go", kind, "edit", "-json", file), &mod); err != nil {
		t.Fatal(err)
	}
	return mod
}

func TestWorkspaceListsModules(t *testing.T) {
	var got []string
	for _, use := range decoded(t, "work", "go.work").Use {
		got = append(got, strings.TrimPrefix(use.DiskPath, "./"))
	}
	want := slices.Sorted(slices.Values(modules))
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("go.work uses %v, want %v: tools and the control plane stay outside, or they raise the versions of the product", got, want)
	}
}

func TestModules(t *testing.T) {
	work := decoded(t, "work", "go.work")
	for _, module := range modules {
		mod := goModOf(t, module)
		if mod.Go != work.Go || mod.Toolchain != work.Toolchain {
			t.Errorf("%s: go %q, toolchain %q; go.work has go %q, toolchain %q", module, mod.Go, mod.Toolchain, work.Go, work.Toolchain)
		}
		siblings := 0
		for _, require := range mod.Require {
			sibling, ours := strings.CutPrefix(require.Path, prefix)
			if !ours {
				continue
			}
			siblings++
			if require.Version != "v0.0.0" {
				t.Errorf("%s: requires %s %s, want v0.0.0: the repository is the unit", module, require.Path, require.Version)
			}
			if !replaced(mod, require.Path, "../"+sibling) {
				t.Errorf("%s: wants the line: replace %s => ../%s", module, require.Path, sibling)
			}
		}
		if siblings != len(mod.Replace) {
			t.Errorf("%s: %d replace lines for %d siblings: a replace of anything else changes what users build", module, len(mod.Replace), siblings)
		}
	}
}

func replaced(mod goMod, path, by string) bool {
	for _, replace := range mod.Replace {
		if replace.Old.Path == path && replace.New.Path == by {
			return true
		}
	}
	return false
}

package expression_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/tandem-cd/tandem/synchronizer/internal/expression"
)

func environment(t testing.TB) *expression.Environment {
	t.Helper()
	env, err := expression.NewEnvironment("self", "dep")
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func thing(conditions int) map[string]any {
	var list []any
	for range conditions {
		list = append(list, map[string]any{"type": "Other", "status": "True"})
	}
	list = append(list, map[string]any{"type": "Ready", "status": "True", "reason": "Done", "message": "all", "observedGeneration": int64(2)})
	return map[string]any{"metadata": map[string]any{"generation": int64(2)}, "status": map[string]any{"conditions": list}}
}

func TestEval(t *testing.T) {
	t.Parallel()
	env := environment(t)
	objects := map[string]any{"self": thing(0), "dep": thing(1)}
	for text, want := range map[string]bool{
		"self.condition('Ready') == 'True' && dep.reason('Ready') == 'Done' && dep.message('Ready') == 'all'": true,
		"self.condition('Other') == ''":                                            true,
		"self.status.condition('Ready') == 'True'":                                 true,
		"self.metadata.generation == 2":                                            true,
		"self.status.conditions.exists(c, c.type == 'Other')":                      false,
		"dep.status.conditions.exists(c, c.type == 'Other' && c.status == 'True')": true,
	} {
		program, err := env.Bool(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := program.Eval(objects); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %t", text, got, err, want)
		}
	}
}

func TestEvalThatFails(t *testing.T) {
	t.Parallel()
	env := environment(t)
	const loop = "[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, self.condition('Nothing') == ''))"
	for name, tc := range map[string]struct {
		text       string
		conditions int
		want       string // empty for success
	}{
		"NoField":      {"self.status.phase == 'Done'", 0, "no such key: phase"},
		"FewToSearch":  {loop, 0, ""},
		"ManyToSearch": {loop, 1000, "cost limit exceeded"},
		"Loops":        {strings.Repeat("[1,2,3,4,5,6,7,8,9].all(a, ", 5) + "true" + strings.Repeat(")", 5), 0, "cost limit exceeded"},
	} {
		program, err := env.Bool(tc.text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = program.Eval(map[string]any{"self": thing(tc.conditions), "dep": nil})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

// TestCompilesSideBySide is for the race detector: CEL's checker changes what it shares where something is not declared, and
// reads it where there is a macro.
func TestCompilesSideBySide(t *testing.T) {
	t.Parallel()
	for range 50 { // it looks for what was meant once in each environment
		env := environment(t)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := env.Bool("self.a.exists(x, x.b.exists(y, y.c == 'd'))"); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if _, err := env.Bool("slef.a"); err == nil {
					t.Error("compiled")
				}
			})
		}
		wg.Wait()
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	env := environment(t)
	for text, want := range map[string]string{
		"self.(":                           "<input>:1:6",
		"other.status":                     "undeclared reference to 'other'",
		"'yes'":                            "is of type string: bool is needed",
		strings.Repeat("!", 5000) + "true": "5004 bytes: 4096 are allowed",
	} {
		if _, err := env.Bool(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: got %v, want %q", text, err, want)
		}
	}
	if _, err := env.Text("1"); err == nil {
		t.Error("a number is no text: no error")
	}
}

func FuzzEval(f *testing.F) {
	env := environment(f)
	f.Add("self.condition('Ready') == 'True' && has(dep.status)")
	f.Add("dep.status.conditions.filter(c, c.type.matches('R.*')).size() > 0")
	f.Add("[0].map(a, self).exists(s, s.message('Ready') + string(s.metadata.generation) != '')")
	f.Fuzz(func(_ *testing.T, text string) {
		program, err := env.Bool(text)
		if err != nil {
			return
		}
		_, _ = program.Eval(map[string]any{"self": thing(3), "dep": map[string]any{"status": nil}})
	})
}

package health

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/tandem-cd/tandem/synchronizer/internal/expression"
)

const (
	// maxRules bounds the rules of a configuration.
	maxRules = 256
	// MaxOwnRules bounds the rules of a Sync.
	MaxOwnRules = 32
)

// Rule says in CEL when an object is as it should be. Each expression sees the object as self. One that cannot be evaluated,
// such as one about a status that is not there yet, is not true.
type Rule struct {
	// Group is the API group; "*.example.org" stands for example.org and every group below it.
	Group string `json:"group" yaml:"group"`
	// Kind is the kind; "*" stands for every kind of the group.
	Kind string `json:"kind" yaml:"kind"`
	// Current is true when the object is as it should be. When it is not, the object is InProgress.
	Current string `json:"current" yaml:"current"`
	// Failed is true when the object does not become so by itself. It is asked first; never true when empty.
	Failed string `json:"failed,omitempty" yaml:"failed"`
	// Message says why the object is not Current; the condition Ready's message when empty.
	Message string `json:"message,omitempty" yaml:"message"`
}

// Judge says how objects are doing by rules. It is safe for concurrent use.
type Judge struct {
	env   *expression.Environment
	own   []compiled // of one Sync, before those of the cluster
	rules []compiled
}

type compiled struct {
	group, kind              string
	current, failed, message *expression.Program // failed and message are nil where there is none
}

//go:embed rules.yaml
var shipped []byte

// NewJudge returns a judge by rules; the first one that fits an object counts, and the shipped ones come behind them. An
// error names the rule and the place in it.
func NewJudge(rules []Rule) (*Judge, error) {
	if len(rules) > maxRules {
		return nil, fmt.Errorf("%d health rules: %d are allowed", len(rules), maxRules)
	}
	var standard []Rule
	if err := yaml.UnmarshalStrict(shipped, &standard); err != nil {
		return nil, fmt.Errorf("shipped health rules: %w", err)
	}
	env, err := expression.NewEnvironment("self")
	if err != nil {
		return nil, err
	}
	j := &Judge{env: env}
	for i, rule := range append(slices.Clip(rules), standard...) {
		c, err := compile(env, rule)
		if err != nil {
			return nil, fmt.Errorf("health rule %d, for %s of %q: %w", i+1, rule.Kind, rule.Group, err)
		}
		j.rules = append(j.rules, c)
	}
	return j, nil
}

// With returns a judge that asks a Sync's own rules first. An error names the rule by its index, and the place in it.
func (j *Judge) With(rules []Rule) (*Judge, error) {
	if len(rules) > MaxOwnRules {
		return nil, fmt.Errorf("%d rules: %d are allowed", len(rules), MaxOwnRules)
	}
	own := &Judge{env: j.env, rules: j.rules}
	for i, rule := range rules {
		c, err := compile(j.env, rule)
		if err != nil {
			return nil, fmt.Errorf("[%d], for %s of %q: %w", i, rule.Kind, rule.Group, err)
		}
		own.own = append(own.own, c)
	}
	return own, nil
}

// Owns reports whether a Sync's own rule judges a kind.
func (j *Judge) Owns(kind schema.GroupKind) bool { return find(j.own, kind) != nil }

func compile(env *expression.Environment, rule Rule) (c compiled, err error) {
	if rule.Kind == "" || rule.Current == "" {
		return c, errors.New("kind and current are needed")
	}
	c.group, c.kind = rule.Group, rule.Kind
	for _, part := range []struct {
		name, text string
		compile    func(string) (*expression.Program, error)
		into       **expression.Program
	}{
		{"current", rule.Current, env.Bool, &c.current}, {"failed", rule.Failed, env.Bool, &c.failed}, {"message", rule.Message, env.Text, &c.message},
	} {
		if part.text == "" {
			continue
		}
		if *part.into, err = part.compile(part.text); err != nil {
			return c, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return c, nil
}

// Of returns the health of an object as the API server gave it.
func (j *Judge) Of(object *unstructured.Unstructured) Status {
	if object == nil || object.GetDeletionTimestamp() != nil {
		return Of(object)
	}
	kind := object.GroupVersionKind().GroupKind()
	for _, rules := range [][]compiled{j.own, j.rules} {
		if rule := find(rules, kind); rule != nil {
			return rule.judge(object)
		}
	}
	return Of(object)
}

// find returns the first rule for a kind; nil for none.
func find(rules []compiled, kind schema.GroupKind) *compiled {
	for i, c := range rules {
		if (c.kind == "*" || c.kind == kind.Kind) && fits(c.group, kind.Group) {
			return &rules[i]
		}
	}
	return nil
}

func fits(pattern, group string) bool {
	below, wild := strings.CutPrefix(pattern, "*.")
	return pattern == group || wild && (group == below || strings.HasSuffix(group, "."+below))
}

func (c *compiled) judge(object *unstructured.Unstructured) Status {
	if !observed(object) {
		return Status{State: InProgress, Message: "The controller has not looked at this generation yet."}
	}
	self := map[string]any{"self": object.Object}
	switch {
	case c.failed != nil && isTrue(c.failed, self):
		return Status{State: Failed, Message: c.why(self)}
	case isTrue(c.current, self):
		return Status{State: Current}
	default:
		return Status{State: InProgress, Message: c.why(self)}
	}
}

func (c *compiled) why(self map[string]any) string {
	if c.message != nil {
		if text, ok := value(c.message, self).(string); ok && text != "" {
			return clip(text)
		}
	}
	object, _ := self["self"].(map[string]any)
	return clip(expression.Condition(object, "Ready", "message"))
}

func isTrue(program *expression.Program, self map[string]any) bool {
	yes, _ := value(program, self).(bool)
	return yes
}

func value(program *expression.Program, self map[string]any) any {
	out, _ := program.Eval(self) // nil when it comes to nothing
	return out
}

// observed reports whether a status that names a generation is about the present one. Some controllers write it as a text.
func observed(object *unstructured.Unstructured) bool {
	status, _ := object.Object["status"].(map[string]any)
	switch seen := status["observedGeneration"].(type) {
	case int64:
		return seen >= object.GetGeneration()
	case string:
		return seen == fmt.Sprint(object.GetGeneration())
	default:
		return true
	}
}

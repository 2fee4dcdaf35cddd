package health

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

const (
	// maxRules bounds the rules of a configuration.
	maxRules = 256
	// maxExpression bounds an expression, in bytes.
	maxExpression = 4 << 10
	// maxCost bounds one evaluation, in CEL's units; a look at each of a hundred conditions costs a few hundred.
	maxCost = 20_000
)

// Rule says in CEL when an object is as it should be. Each expression sees the object as self; besides CEL's own there are
// condition(type), reason(type) and message(type), which are empty for a condition that is not there or is about an older
// generation. An expression that cannot be evaluated, such as one about a status that is not there yet, is not true.
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
type Judge struct{ rules []compiled }

type compiled struct {
	group, kind              string
	current, failed, message cel.Program // failed and message are nil where there is none
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
	env, err := environment()
	if err != nil {
		return nil, err
	}
	j := &Judge{}
	for i, rule := range append(slices.Clip(rules), standard...) {
		c, err := compile(env, rule)
		if err != nil {
			return nil, fmt.Errorf("health rule %d, for %s of %q: %w", i+1, rule.Kind, rule.Group, err)
		}
		j.rules = append(j.rules, c)
	}
	return j, nil
}

func compile(env *cel.Env, rule Rule) (c compiled, err error) {
	if rule.Kind == "" || rule.Current == "" {
		return c, errors.New("kind and current are needed")
	}
	c.group, c.kind = rule.Group, rule.Kind
	for _, part := range []struct {
		name, text string
		kind       *cel.Type
		into       *cel.Program
	}{
		{"current", rule.Current, cel.BoolType, &c.current}, {"failed", rule.Failed, cel.BoolType, &c.failed}, {"message", rule.Message, cel.StringType, &c.message},
	} {
		if part.text == "" {
			continue
		}
		if *part.into, err = program(env, part.text, part.kind); err != nil {
			return c, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return c, nil
}

func program(env *cel.Env, text string, kind *cel.Type) (cel.Program, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("%d bytes: %d are allowed", len(text), maxExpression)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	if out := ast.OutputType(); !out.IsExactType(kind) && !out.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("is of type %s: %s is needed", out, kind)
	}
	return env.Program(ast, cel.CostLimit(maxCost))
}

// Of returns the health of an object as the API server gave it.
func (j *Judge) Of(object *unstructured.Unstructured) Status {
	if object == nil || object.GetDeletionTimestamp() != nil {
		return Of(object)
	}
	rule := j.rule(object.GroupVersionKind().GroupKind())
	if rule == nil {
		return Of(object)
	}
	return rule.judge(object)
}

func (j *Judge) rule(kind schema.GroupKind) *compiled {
	for i, c := range j.rules {
		if (c.kind == "*" || c.kind == kind.Kind) && fits(c.group, kind.Group) {
			return &j.rules[i]
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
	return clip(fieldOf(object, "Ready", "message"))
}

func isTrue(program cel.Program, self map[string]any) bool {
	yes, _ := value(program, self).(bool)
	return yes
}

func value(program cel.Program, self map[string]any) any {
	out, _, err := program.Eval(self)
	if err != nil {
		return nil
	}
	return out.Value()
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

// environment is what expressions may use.
func environment() (*cel.Env, error) {
	options := []cel.EnvOption{cel.Variable("self", cel.DynType)}
	for name, field := range map[string]string{"condition": "status", "reason": "reason", "message": "message"} {
		options = append(options, cel.Function(name, cel.MemberOverload("object_"+name, []*cel.Type{cel.DynType, cel.StringType}, cel.StringType,
			cel.BinaryBinding(func(object, kind ref.Val) ref.Val {
				name, _ := kind.Value().(string)
				fields, _ := object.Value().(map[string]any)
				return types.String(fieldOf(fields, name, field))
			}))))
	}
	return cel.NewEnv(options...)
}

// fieldOf returns a field of a condition of an object, or of a part of one that has conditions itself. It is empty for a
// condition that is about an older generation.
func fieldOf(object map[string]any, kind, field string) string {
	conditions, ok := object["conditions"].([]any)
	if !ok {
		status, _ := object["status"].(map[string]any)
		conditions, _ = status["conditions"].([]any)
	}
	metadata, _ := object["metadata"].(map[string]any)
	generation, _ := metadata["generation"].(int64)
	for _, item := range conditions {
		condition, _ := item.(map[string]any)
		if condition["type"] != kind {
			continue
		}
		if seen, ok := condition["observedGeneration"].(int64); ok && seen < generation {
			return ""
		}
		text, _ := condition[field].(string)
		return text
	}
	return ""
}

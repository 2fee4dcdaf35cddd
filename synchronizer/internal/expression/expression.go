// Package expression compiles and evaluates CEL expressions about Kubernetes objects, within bounds.
//
// Pure. Whoever may write a Sync may write expressions, so that their length and what an evaluation costs are limited; there is
// no way out of CEL into anything else. Besides CEL's own functions there are condition(type), reason(type) and message(type)
// of an object, or of a part of one that has conditions itself; they are empty for a condition that is not there or is about
// an older generation.
package expression

import (
	"fmt"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

const (
	// MaxLength bounds an expression, in bytes.
	MaxLength = 4 << 10
	// MaxCost bounds one evaluation, in CEL's units; a look at each of a hundred conditions costs a few hundred.
	MaxCost = 20_000
)

// Environment is what expressions may use. It is safe for concurrent use.
type Environment struct {
	mu  sync.Mutex // held while compiling: CEL's checker is not safe where something is not declared
	env *cel.Env
}

// NewEnvironment returns one in which expressions see objects under the given names.
func NewEnvironment(objects ...string) (*Environment, error) {
	var options []cel.EnvOption
	for _, name := range objects {
		options = append(options, cel.Variable(name, cel.DynType))
	}
	for name, field := range fields {
		options = append(options, cel.Function(name, cel.MemberOverload("object_"+name, []*cel.Type{cel.DynType, cel.StringType}, cel.StringType,
			cel.BinaryBinding(func(object, kind ref.Val) ref.Val {
				name, _ := kind.Value().(string)
				fields, _ := object.Value().(map[string]any)
				return types.String(Condition(fields, name, field))
			}))))
	}
	env, err := cel.NewEnv(options...)
	return &Environment{env: env}, err
}

// fields of a condition, by the function that reads each.
var fields = map[string]string{"condition": "status", "reason": "reason", "message": "message"} //nolint:gochecknoglobals // a constant

// Program is an expression that can be evaluated, from several goroutines too.
type Program struct{ program cel.Program }

// Bool compiles an expression that is true or false. An error names the place in it.
func (e *Environment) Bool(text string) (*Program, error) { return e.compile(text, cel.BoolType) }

// Text compiles an expression that is a text. An error names the place in it.
func (e *Environment) Text(text string) (*Program, error) { return e.compile(text, cel.StringType) }

func (e *Environment) compile(text string, kind *cel.Type) (*Program, error) {
	if len(text) > MaxLength {
		return nil, fmt.Errorf("%d bytes: %d are allowed", len(text), MaxLength)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	ast, issues := e.env.Compile(text)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	if out := ast.OutputType(); !out.IsExactType(kind) && !out.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("is of type %s: %s is needed", out, kind)
	}
	program, err := e.env.Program(ast, cel.CostLimit(MaxCost), cel.CostTracking(costs{}))
	return &Program{program}, err
}

// Eval returns what an expression comes to for objects by their names. An error says why it comes to nothing, as when it is
// about a field that is not there.
func (p *Program) Eval(objects map[string]any) (any, error) {
	out, _, err := p.program.Eval(objects)
	if err != nil {
		return nil, err
	}
	return out.Value(), nil
}

// costs knows what our own functions cost: as much as there are conditions to look through.
type costs struct{}

func (costs) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	if _, ours := fields[function]; !ours || len(args) == 0 {
		return nil
	}
	object, _ := args[0].Value().(map[string]any)
	cost := uint64(1 + len(conditions(object)))
	return &cost
}

// Condition returns a field of a condition of an object, or of a part of one that has conditions itself. It is empty for a
// condition that is about an older generation.
func Condition(object map[string]any, kind, field string) string {
	metadata, _ := object["metadata"].(map[string]any)
	generation, _ := metadata["generation"].(int64)
	for _, item := range conditions(object) {
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

func conditions(object map[string]any) []any {
	list, ok := object["conditions"].([]any)
	if !ok {
		status, _ := object["status"].(map[string]any)
		list, _ = status["conditions"].([]any)
	}
	return list
}

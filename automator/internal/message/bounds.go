package message

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

const (
	// maxText bounds a template's own text, in bytes.
	maxText = 16 << 10
	// maxSteps bounds what one template does for one commit: a step is a word of an action that is gone through, such as a
	// function, a field or a constant; a byte that one of the functions puts together; or so many bytes that it compares. All
	// of them take some tenths of a second.
	maxSteps = 1 << 20
	// comparedAtOnce are the bytes whose comparison is a step.
	comparedAtOnce = 64
)

// filling is a template that is being filled. [text/template] goes on for as long as a template says, and is stopped only by
// what it writes to and by the functions that it calls.
type filling struct {
	name  string
	text  strings.Builder
	limit int // of text, in bytes
	steps int // that were taken
}

// Write takes what comes out. A template that was measured writes for every word, if only nothing.
func (f *filling) Write(p []byte) (int, error) {
	if f.text.Len()+len(p) > f.limit {
		return 0, fmt.Errorf("%s: more than %d bytes came out; have it say less", f.name, f.limit)
	}
	if err := f.step(1); err != nil {
		return 0, err
	}
	return f.text.Write(p)
}

func (f *filling) step(steps int) error {
	if f.steps += steps; f.steps > maxSteps {
		return fmt.Errorf("%s: more than %d steps; have it loop and put together less", f.name, maxSteps)
	}
	return nil
}

// functions are join, and those of text/template whose work is not bounded by the words of a template. They do the same, but
// take no lists.
func (f *filling) functions() template.FuncMap {
	return template.FuncMap{
		"join":     f.join,
		"print":    f.counted(fmt.Sprint),
		"println":  f.counted(fmt.Sprintln),
		"printf":   f.printf,
		"html":     f.counted(template.HTMLEscaper),
		"js":       f.counted(template.JSEscaper),
		"urlquery": f.counted(template.URLQueryEscaper),
		"eq":       f.eq,
		"ne":       f.comparing(func(order int) bool { return order != 0 }),
		"lt":       f.comparing(func(order int) bool { return order < 0 }),
		"le":       f.comparing(func(order int) bool { return order <= 0 }),
		"gt":       f.comparing(func(order int) bool { return order > 0 }),
		"ge":       f.comparing(func(order int) bool { return order >= 0 }),
	}
}

func (f *filling) join(list []string, between string) (string, error) {
	size := len(list) * (1 + len(between))
	for _, text := range list {
		size += len(text)
	}
	if err := f.step(size); err != nil {
		return "", err
	}
	return strings.Join(list, between), nil
}

// counted counts what goes into a function before it is called, and what comes out.
func (f *filling) counted(call func(args ...any) string) func(args ...any) (string, error) {
	return func(args ...any) (string, error) {
		plain := make([]any, len(args))
		for i, arg := range args {
			var err error
			if plain[i], err = scalar(arg); err != nil {
				return "", err
			}
			text, _ := plain[i].(string)
			if err := f.step(len(text)); err != nil {
				return "", err
			}
		}
		text := call(plain...)
		return text, f.step(len(text))
	}
}

func (f *filling) printf(format string, args ...any) (string, error) {
	if err := f.step(len(format)); err != nil {
		return "", err
	}
	widths, err := widths(format)
	if err == nil {
		err = f.step(widths)
	}
	if err != nil {
		return "", err
	}
	return f.counted(func(args ...any) string { return fmt.Sprintf(format, args...) })(args...)
}

// eq tells whether the first is any of the others.
func (f *filling) eq(first any, others ...any) (bool, error) {
	if len(others) == 0 {
		return false, errors.New("missing argument for comparison")
	}
	for _, other := range others {
		if order, err := f.compare(first, other); err != nil || order == 0 {
			return err == nil, err
		}
	}
	return false, nil
}

func (f *filling) comparing(holds func(order int) bool) func(a, b any) (bool, error) {
	return func(a, b any) (bool, error) {
		order, err := f.compare(a, b)
		return err == nil && holds(order), err
	}
}

// compare returns the order of two values as [cmp.Compare] does; false is less than true.
func (f *filling) compare(one, other any) (int, error) {
	a, errA := scalar(one)
	b, errB := scalar(other)
	if err := errors.Join(errA, errB); err != nil {
		return 0, err
	}
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return cmp.Compare(a, b), f.step(min(len(a), len(b)) / comparedAtOnce)
		}
	case bool:
		if b, ok := b.(bool); ok {
			return cmp.Compare(number(a), number(b)), nil
		}
	case int64:
		if b, ok := b.(int64); ok {
			return cmp.Compare(a, b), nil
		}
	case float64:
		if b, ok := b.(float64); ok {
			return cmp.Compare(a, b), nil
		}
	}
	return 0, fmt.Errorf("incompatible types for comparison: %T and %T", one, other)
}

func number(truth bool) int {
	if truth {
		return 1
	}
	return 0
}

// scalar is a value as functions take it: a string, a bool, an int64 or a float64. Of a list a format would do to every element
// what it says once, and to compare images is to compare all that they hold.
func scalar(arg any) (any, error) {
	v := reflect.ValueOf(arg)
	switch {
	case v.Kind() == reflect.String:
		return v.String(), nil
	case v.Kind() == reflect.Bool:
		return v.Bool(), nil
	case v.CanInt():
		return v.Int(), nil
	case v.CanUint():
		return int64(v.Uint()), nil // a byte of a text; there are no others
	case v.CanFloat():
		return v.Float(), nil
	}
	return nil, fmt.Errorf("%T: only text, numbers and booleans are taken, and no lists; use range or join", arg)
}

var (
	verbs   = regexp.MustCompile(`%[-+# 0-9.*\[\]]*`)
	numbers = regexp.MustCompile(`[0-9]+`)
)

// widths adds up the widths and precisions of a format, by which little becomes much.
func widths(format string) (sum int, err error) {
	for _, verb := range verbs.FindAllString(strings.ReplaceAll(format, "%%", ""), -1) {
		if strings.ContainsAny(verb, "*[") {
			return 0, errors.New("a format takes its arguments in their order, and no widths from them")
		}
		for _, number := range numbers.FindAllString(verb, -1) {
			width, err := strconv.Atoi(number)
			if err != nil || width > maxSteps {
				return 0, fmt.Errorf("the width %s is larger than %d", number, maxSteps)
			}
			sum += width
		}
	}
	return sum, nil
}

// measure has a template and those that it defines write as often before every node as that has words, so that whoever is
// written to sees them go on. None may call itself: no commit is nested, and the calls would outgrow the stack before the steps.
func measure(t *template.Template) error {
	calls := map[string][]string{}
	for _, one := range t.Templates() {
		lists(one.Root, func(list *parse.ListNode) {
			nodes := []parse.Node{nothing()}
			for _, node := range list.Nodes {
				for range words(node) {
					nodes = append(nodes, nothing())
				}
				nodes = append(nodes, node)
				if call, ok := node.(*parse.TemplateNode); ok {
					calls[one.Name()] = append(calls[one.Name()], call.Name)
				}
			}
			list.Nodes = nodes
		})
	}
	if name := circular(calls); name != "" {
		return fmt.Errorf("%s: the template %q calls itself; use range", t.Name(), name)
	}
	return nil
}

// words counts what a node has evaluated, besides the lists below it.
func words(node parse.Node) int {
	var pipe *parse.PipeNode
	switch node := node.(type) {
	case *parse.ChainNode:
		return 1 + words(node.Node)
	case *parse.PipeNode:
		pipe = node
	case *parse.ActionNode:
		pipe = node.Pipe
	case *parse.TemplateNode:
		pipe = node.Pipe
	default:
		if b := branches(node); b != nil {
			pipe = b.Pipe
		}
	}
	count := 1
	if pipe != nil {
		for _, command := range pipe.Cmds {
			for _, arg := range command.Args {
				count += words(arg)
			}
		}
	}
	return count
}

func nothing() parse.Node { return &parse.TextNode{NodeType: parse.NodeText} }

// lists visits a list of nodes and all below it.
func lists(list *parse.ListNode, visit func(*parse.ListNode)) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		if b := branches(node); b != nil {
			lists(b.List, visit)
			lists(b.ElseList, visit)
		}
	}
	visit(list)
}

func branches(node parse.Node) *parse.BranchNode {
	switch node := node.(type) {
	case *parse.IfNode:
		return &node.BranchNode
	case *parse.RangeNode:
		return &node.BranchNode
	case *parse.WithNode:
		return &node.BranchNode
	}
	return nil
}

// circular returns who calls itself, over others or not; empty if nobody does.
func circular(calls map[string][]string) string {
	visited := map[string]bool{} // false while its calls are followed
	var follow func(name string) string
	follow = func(name string) string {
		if done, seen := visited[name]; seen {
			if done {
				return ""
			}
			return name
		}
		visited[name] = false
		for _, called := range calls[name] {
			if found := follow(called); found != "" {
				return found
			}
		}
		visited[name] = true
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		if found := follow(name); found != "" {
			return found
		}
	}
	return ""
}

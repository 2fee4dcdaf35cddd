package message

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

// maxSteps bounds what one template does for one commit: a step is a node that is gone through, or a byte that one of its
// functions puts together. All of them take some tenths of a second.
const maxSteps = 1 << 20

// filling is a template that is being filled. [text/template] goes on for as long as a template says, and is stopped only by
// what it writes to and by the functions that it calls.
type filling struct {
	name  string
	text  strings.Builder
	limit int // of text, in bytes
	steps int // that were taken
}

// Write takes what comes out. A template that was measured writes before every node, if only nothing.
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

// functions are join, and those of text/template that put text together.
func (f *filling) functions() template.FuncMap {
	return template.FuncMap{
		"join":     f.join,
		"print":    f.counted(fmt.Sprint),
		"println":  f.counted(fmt.Sprintln),
		"printf":   f.printf,
		"html":     f.counted(template.HTMLEscaper),
		"js":       f.counted(template.JSEscaper),
		"urlquery": f.counted(template.URLQueryEscaper),
	}
}

func (f *filling) join(list []string, between string) (string, error) {
	size := len(list) * len(between)
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
		for _, arg := range args {
			text, _ := arg.(string)
			if err := f.step(len(text)); err != nil {
				return "", err
			}
		}
		text := call(args...)
		return text, f.step(len(text))
	}
}

func (f *filling) printf(format string, args ...any) (string, error) {
	widths, err := widths(format)
	if err == nil {
		err = f.step(widths)
	}
	if err != nil {
		return "", err
	}
	return f.counted(func(args ...any) string { return fmt.Sprintf(format, args...) })(args...)
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

// measure has a template and those that it defines write before every node, so that whoever is written to sees them go on.
// None may call itself: no commit is nested, and the calls would outgrow the stack before the steps.
func measure(t *template.Template) error {
	calls := map[string][]string{}
	for _, one := range t.Templates() {
		lists(one.Root, func(list *parse.ListNode) {
			nodes := []parse.Node{nothing()}
			for _, node := range list.Nodes {
				nodes = append(nodes, node, nothing())
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

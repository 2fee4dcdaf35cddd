package message_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/message"
)

// doubling are templates that each call the next one twice.
func doubling() string {
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, `{{define "t%d"}}{{template "t%d"}}{{template "t%d"}}{{end}}`, i, i+1, i+1)
	}
	return b.String() + `{{define "t40"}}{{end}}{{template "t0"}}`
}

func TestParseEnds(t *testing.T) {
	t.Parallel()
	const steps = "body: more than 1048576 steps"
	for name, tc := range map[string]struct{ body, want string }{
		"Loop":             {"{{range 1000000000000}}{{end}}", steps},
		"LoopOverNothing":  {"{{range 1000000000000}}{{if false}}x{{end}}{{end}}", steps},
		"LoopThatGoesOn":   {"{{range 1000000000000}}{{continue}}{{end}}", steps},
		"LoopInLoop":       {"{{range 10000}}{{range 10000}}{{else}}x{{end}}{{end}}", steps},
		"LoopInDefinition": {`{{define "loop"}}{{range 1000000000000}}{{end}}{{end}}{{with .Title}}{{template "loop"}}{{end}}`, steps},
		"Calls":            {doubling(), steps},
		"CallOfItself":     {`{{template "body" .}}`, `body: the template "body" calls itself`},
		"CallsInACircle": {
			`{{define "a"}}{{if .}}x{{else}}{{template "b" .}}{{end}}{{end}}{{define "b"}}{{template "a" .}}{{end}}{{template "a" .}}`,
			`body: the template "a" calls itself`,
		},
		"Print":    {`{{$x := "xxxxxxxx"}}{{range 60}}{{$x = print $x $x}}{{end}}`, steps},
		"Println":  {`{{$x := "xxxxxxxx"}}{{range 60}}{{$x = println $x $x}}{{end}}`, steps},
		"Printf":   {`{{$x := "xxxxxxxx"}}{{range 60}}{{$x = printf "%s%s" $x $x}}{{end}}`, steps},
		"HTML":     {`{{$x := "<<<<<<<<"}}{{range 60}}{{$x = html $x $x}}{{end}}`, steps},
		"JS":       {`{{$x := "<<<<<<<<"}}{{range 60}}{{$x = js $x $x}}{{end}}`, steps},
		"URLQuery": {`{{$x := "<<<<<<<<"}}{{range 60}}{{$x = urlquery $x $x}}{{end}}`, steps},
		"Join":     {`{{range 100000}}{{with join $.Environments "xxxxxxxxxxxxxxxxxxxx"}}{{end}}{{end}}`, steps},
		"Width":    {`{{range 10}}{{with printf "%900000d" 1}}{{end}}{{end}}`, steps},
		"HugeWidth": {
			`{{with printf "%99999999999999999999d" 1}}{{end}}`, "the width 99999999999999999999 is larger",
		},
		"WidthOfAnArgument": {`{{printf "%*d" 900000 1}}`, "no widths from them"},
		"EqualToNone": {
			`{{$a := printf "%0200000d" 1}}{{$b := printf "%0200000d" 2}}{{range 10}}{{if eq $a ` + strings.Repeat("$b ", 100) + `}}{{end}}{{end}}`, steps,
		},
		"Equal":            {`{{$a := printf "%200000d" 1}}{{range 1000}}{{if ne $a $a}}{{end}}{{end}}`, steps},
		"Order":            {`{{$a := printf "%200000d" 1}}{{range 1000}}{{if lt $a $a}}{{end}}{{end}}`, steps},
		"And":              {`{{range 1000}}{{if and ` + strings.Repeat("1 ", 2000) + `}}{{end}}{{end}}`, steps},
		"Nested":           {`{{range 10000}}{{if ` + strings.Repeat("(", 200) + "1" + strings.Repeat(")", 200) + `}}{{end}}{{end}}`, steps},
		"Formats":          {`{{$format := printf "%%%0300000d" 0}}{{range 10}}{{with printf $format}}{{end}}{{end}}`, steps},
		"Text":             {strings.Repeat("x", 16<<10+1), "body: 16385 bytes are more than 16384"},
		"ListWide":         {`{{with printf "%50000v" .Images}}{{end}}`, "[]message.Image: only text, numbers and booleans are taken"},
		"ImageWide":        {`{{with printf "%50000v" (index .Images 0)}}{{end}}`, "message.Image: only text"},
		"ListPrinted":      {`{{print .Apps}}`, "[]string: only text"},
		"ListEscaped":      {`{{.Apps | html}}`, "[]string: only text"},
		"ListEqual":        {`{{if eq .Images .Images}}{{end}}`, "[]message.Image: only text"},
		"Types":            {`{{if eq 1 "1"}}{{end}}`, "incompatible types for comparison: int and string"},
		"NothingToCompare": {`{{if eq 1}}{{end}}`, "missing argument"},
		"ArgumentAgain":    {`{{printf "%[1]s%[1]s" .Title}}`, "takes its arguments in their order"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := message.Parse(message.Config{Body: tc.body}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Parse: %v, want %q", err, tc.want)
			}
		})
	}
}

// large is a commit of 1,000 images in 100 apps.
func large() message.Commit {
	c := commit()
	c.Apps, c.Images = nil, nil
	for i := range 1000 {
		app := fmt.Sprintf("app-%02d", i/10)
		if i%10 == 0 {
			c.Apps = append(c.Apps, app)
		}
		c.Images = append(c.Images, message.Image{App: app, Name: fmt.Sprintf("image-%d", i), Tag: "1.0.0"})
	}
	return c
}

func TestLargeCommit(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body string
		fits bool
	}{
		"Grouped": {"{{range $app := .Apps}}{{$app}}:{{range $.Images}}{{if eq .App $app}} {{.Name}}{{end}}{{end}}\n{{end}}", true},
		"Square":  {"{{range .Images}}{{range $.Images}}{{if false}}x{{end}}{{end}}{{end}}", false},
	} {
		templates, err := message.Parse(message.Config{Body: tc.body})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		words, err := templates.Words(large())
		if tc.fits && (err != nil || !strings.Contains(words.Body, "\napp-99: image-990 image-991")) {
			t.Errorf("%s: %v, %s", name, err, words.Body)
		}
		if !tc.fits && (err == nil || !strings.Contains(err.Error(), "steps")) {
			t.Errorf("%s: %v, want too many steps", name, err)
		}
	}
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{{printf "%.3s %-5q|%5.1f" .Title "a" 2.0}}`: `sho "a"  |  2.0`,
		`{{printf "100%% [%s]" "done"}}`:              "100% [done]",
		`{{print 1 2 "a"}}{{println "b" 3}}`:          "1 2ab 3",
		`{{html "<" .Author}}`:                        "&lt;Robot &lt;robot@example.com&gt;",
		`{{if eq .Title "a" "b" .Title}}1{{end}}{{if eq 1 2 3}}no{{end}}{{if ne 1.5 2.5}}2{{end}}{{if lt "a" "b"}}3{{end}}`: "123",
		`{{le 1 1}} {{le 2 1}} {{gt 2 1}} {{gt 1 1}} {{ge 1 1}} {{ge 1 2}} {{ne true false}}`:                               "true false true false true false true",
		`{{eq (index .Title 0) 115}}/{{len .Title | eq 22}}/{{with slice .Images 1}}{{else}}none{{end}}`:                    "true/true/none",
		`{{js "'"}} {{urlquery "a b"}}`: `\' a+b`,
		`{{join .Environments "+"}}`:    "dev+qa",
		`{{define "a"}}{{end}}{{define "b"}}{{.}}{{template "a"}}{{end}}{{template "b" "x"}}{{block "c" "y"}}{{.}}{{end}}`: "xy",
	} {
		templates, err := message.Parse(message.Config{Body: body})
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		words, err := templates.Words(commit())
		if diff := cmp.Diff(want, words.Body); err != nil || diff != "" {
			t.Errorf("%s: %v, -want, +got:\n%s", body, err, diff)
		}
	}
}

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
		"ArgumentAgain":     {`{{printf "%[1]s%[1]s" .Title}}`, "takes its arguments in their order"},
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
		`{{js "'"}} {{urlquery "a b"}}`:               `\' a+b`,
		`{{join .Environments "+"}}`:                  "dev+qa",
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

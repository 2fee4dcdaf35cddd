package message_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/message"
)

func commit() message.Commit {
	return message.Commit{
		Title: "shop: api 2.0.0 to dev", Body: "shop dev: api from 1.0.0 to 2.0.0", Author: "Robot <robot@example.com>",
		Apps: []string{"shop"}, Environments: []string{"dev", "qa"},
		Images: []message.Image{{App: "shop", Environment: "dev", Name: "api", Tag: "2.0.0", Was: "1.0.0"}},
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config message.Config
		want   message.Words
	}{
		"as always": {want: message.Words{Title: "shop: api 2.0.0 to dev", Body: "shop dev: api from 1.0.0 to 2.0.0"}},
		"all of it": {
			config: message.Config{
				Title:    `chore({{join .Apps ","}}): {{range .Images}}{{.Name}} {{.Tag}} {{end}}[skip ci]`,
				Body:     "{{range .Images}}{{.Name}}: {{or .Was \"several\"}} to {{.Tag}}\n{{end}}\n",
				Trailers: []string{"Signed-off-by: {{.Author}}", "Environments: {{join .Environments \", \"}}"},
			},
			want: message.Words{
				Title: "chore(shop): api 2.0.0 [skip ci]", Body: "api: 1.0.0 to 2.0.0",
				Trailers: []string{"Signed-off-by: Robot <robot@example.com>", "Environments: dev, qa"},
			},
		},
		"beside the usual ones": {
			config: message.Config{Title: "deploy: {{.Title}}", Trailers: []string{"{{with (index .Images 0).From}}Proven-in: {{.}}{{end}}"}},
			want:   message.Words{Title: "deploy: shop: api 2.0.0 to dev", Body: "shop dev: api from 1.0.0 to 2.0.0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			templates, err := message.Parse(test.config)
			if err != nil {
				t.Fatal(err)
			}
			got, err := templates.Words(commit())
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("Words() -want, +got:\n%s%v", diff, err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config message.Config
		want   string
	}{
		"no template":           {message.Config{Title: "{{.Title"}, "title:1: unclosed action"},
		"no field":              {message.Config{Body: "{{.Subject}}"}, `body:1:2: executing "body" at <.Subject>`},
		"a field of some":       {message.Config{Body: "{{(index .Images 1).Name}}"}, "index out of range"},
		"two lines":             {message.Config{Title: "a\nb"}, "title: more than one line came out"},
		"an empty title":        {message.Config{Title: "{{with .Author}}{{end}}"}, "title: nothing came out"},
		"control characters":    {message.Config{Body: `{{"\x00"}}`}, "body: control characters"},
		"no UTF-8":              {message.Config{Body: "\xff"}, "body: control characters or no UTF-8"},
		"no trailer":            {message.Config{Trailers: []string{"a sentence"}}, `trailers[0]: "a sentence" is no trailer`},
		"a trailer of our own":  {message.Config{Trailers: []string{"A: b", "tandem-app: shop"}}, "trailers[1]: tandem-app is a trailer of Tandem's own"},
		"two trailers in one":   {message.Config{Trailers: []string{"A: b\nTandem-App: shop"}}, "trailers[0]: more than one line"},
		"too many trailers":     {message.Config{Trailers: make([]string, 17)}, "17 are more than 16"},
		"a title without end":   {message.Config{Title: "{{range 600}}x{{end}}"}, "title: more than 500 bytes came out"},
		"a trailer without end": {message.Config{Trailers: []string{"A: {{range 2000}}x{{end}}"}}, "trailers[0]: more than 1024 bytes came out"},
		"a body without end":    {message.Config{Body: "{{range 300000}}x{{end}}"}, "body: more than 262144 bytes came out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := message.Parse(test.config); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Parse(%+v) = %v, want %q", test.config, err, test.want)
			}
		})
	}
}

// FuzzWords has commits of any kind: what templates make of them fits a commit, or is refused.
func FuzzWords(f *testing.F) {
	templates, err := message.Parse(message.Config{
		Title: "deploy: {{.Title}}", Body: "{{range .Images}}{{.Name}} {{or .Was \"several\"}} to {{.Tag}}: {{.Reason}}\n{{end}}",
		Trailers: []string{"Signed-off-by: {{.Author}}", "{{with (index .Images 0).From}}{{.}}: {{$.Author}}{{end}}"},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("shop: api 2.0.0 to dev", "2.0.0", "the newest", "Robot <robot@example.com>", "")
	f.Add("two\nlines", "\x00", "a\n\nTandem-App: shop", "a\nTandem-App: b", "Tandem-App")
	f.Add("shop", "2.0.0", "the newest", "Robot", "tandem-Accept")
	f.Fuzz(func(t *testing.T, title, tag, reason, author, from string) {
		c := commit()
		c.Title, c.Author = title, author
		c.Images[0].Tag, c.Images[0].Reason, c.Images[0].From = tag, reason, from
		words, err := templates.Words(c)
		if err != nil {
			return
		}
		if words.Title == "" || strings.ContainsAny(words.Title, "\n\x00") || strings.ContainsRune(words.Body, 0) {
			t.Errorf("%+v", words)
		}
		for _, trailer := range words.Trailers {
			if key, _, ok := strings.Cut(trailer, ": "); !ok || strings.Contains(trailer, "\n") || strings.HasPrefix(strings.ToLower(key), "tandem-") {
				t.Errorf("trailer %q", trailer)
			}
		}
	})
}

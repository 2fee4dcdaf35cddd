// Package message puts the words of commits as a repository's people want them, by templates of [text/template].
//
// The trailers by which Tandem reads its own history are none of these words: no template takes them away or adds one.
package message

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/template"
	"unicode"
)

// Limits of what templates give, in bytes.
const (
	maxTitle    = 500
	maxBody     = 256 << 10
	maxTrailer  = 1 << 10
	maxTrailers = 16
)

// Config is the templates of one repository, which are given a [Commit]. What is empty is said as always. A template, what comes
// out, and how long it goes on are bounded.
type Config struct {
	// Title is one line.
	Title string `yaml:"title"`
	// Body is what stands between title and trailers.
	Body string `yaml:"body"`
	// Trailers are lines such as "Signed-off-by: {{.Author}}". One that comes out empty is left out.
	Trailers []string `yaml:"trailers"`
}

// Commit is what a commit does.
type Commit struct {
	// Title and Body are what is said without templates.
	Title, Body string
	// Author is who commits: Name <email>.
	Author string
	// Apps and Environments are those that are written, in order, each once.
	Apps, Environments []string
	// Images are what is written, one for each image and environment.
	Images []Image
}

// Image is what one environment gets of an image.
type Image struct {
	App, Environment string
	// Release is the id of what the environment runs then, and From the environment that proved it; either may be empty.
	Release, From string
	// Name is what the pipeline calls the image.
	Name, Repository, Tag, Digest string
	// Was is the tag that stood there before, or empty if there were several.
	Was string
	// Reason is one sentence.
	Reason string
}

// Words are what people read of a commit.
type Words struct {
	Title, Body string
	Trailers    []string
}

// Templates are a valid [Config]. The zero value says all as always.
type Templates struct {
	title, body *template.Template
	trailers    []*template.Template
}

// Parse reads templates and tries each with commits of one image and of several. Its error has everything that is wrong.
func Parse(c Config) (Templates, error) {
	var t Templates
	var problems []error
	read := func(name, text string) *template.Template {
		if text == "" {
			return nil
		}
		if len(text) > maxText {
			problems = append(problems, fmt.Errorf("%s: %d bytes are more than %d", name, len(text), maxText))
			return nil
		}
		parsed, err := template.New(name).Option("missingkey=error").Funcs((&filling{}).functions()).Parse(text)
		if err == nil {
			err = measure(parsed)
		}
		problems = append(problems, err)
		return parsed
	}
	t.title, t.body = read("title", c.Title), read("body", c.Body)
	for i, text := range c.Trailers {
		t.trailers = append(t.trailers, read(fmt.Sprintf("trailers[%d]", i), text))
	}
	if len(c.Trailers) > maxTrailers {
		problems = append(problems, fmt.Errorf("trailers: %d are more than %d", len(c.Trailers), maxTrailers))
	}
	if err := errors.Join(problems...); err != nil {
		return Templates{}, err
	}
	for _, sample := range samples() {
		if _, err := t.Words(sample); err != nil {
			return Templates{}, err
		}
	}
	return t, nil
}

// Words says what a commit does. An error names the template that gave what no commit can have.
func (t Templates) Words(c Commit) (Words, error) {
	title, titleErr := line(t.title, c, c.Title, maxTitle)
	if titleErr == nil && title == "" {
		titleErr = errors.New("title: nothing came out")
	}
	body, bodyErr := fill(t.body, c, c.Body, maxBody)
	words, problems := Words{Title: title, Body: body}, []error{titleErr, bodyErr}
	for _, trailer := range t.trailers {
		text, err := line(trailer, c, "", maxTrailer)
		if err == nil && text != "" {
			words.Trailers = append(words.Trailers, text)
			err = checkTrailer(trailer.Name(), text)
		}
		problems = append(problems, err)
	}
	return words, errors.Join(problems...)
}

var trailerForm = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9-]*): \S`)

// checkTrailer keeps what is no trailer out of the last paragraph, since Git reads none of it then.
func checkTrailer(name, text string) error {
	form := trailerForm.FindStringSubmatch(text)
	if form == nil {
		return fmt.Errorf("%s: %.80q is no trailer; write \"Key: value\"", name, text)
	}
	if Reserved(form[1]) {
		return fmt.Errorf("%s: %s is a trailer of Tandem's own", name, form[1])
	}
	return nil
}

// Reserved tells whether the key of a trailer is Tandem's own.
func Reserved(key string) bool { return strings.HasPrefix(strings.ToLower(key), "tandem-") }

// line fills a template that gives one line.
func line(t *template.Template, c Commit, otherwise string, limit int) (string, error) {
	text, err := fill(t, c, otherwise, limit)
	if err == nil && strings.ContainsRune(text, '\n') {
		return "", fmt.Errorf("%s: more than one line came out: %.80q", t.Name(), text)
	}
	return text, err
}

// fill fills a template, or says what is said without one.
func fill(t *template.Template, c Commit, otherwise string, limit int) (string, error) {
	if t == nil {
		return otherwise, nil
	}
	mine, err := t.Clone() // the functions count for one filling
	if err != nil {
		return "", err
	}
	out := &filling{name: t.Name(), limit: limit}
	if err := mine.Funcs(out.functions()).Execute(out, c); err != nil {
		return "", err
	}
	text := strings.TrimSpace(out.text.String())
	if strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t' || r == unicode.ReplacementChar
	}) {
		return "", fmt.Errorf("%s: control characters or no UTF-8 came out: %.80q", t.Name(), text)
	}
	return text, nil
}

// samples are commits of each shape.
func samples() []Commit {
	api := Image{
		App: "shop", Environment: "dev", Release: strings.Repeat("a", 64), Name: "api", Repository: "registry.example.com/shop/api", Tag: "1.1.0",
		Digest: "sha256:" + strings.Repeat("b", 64), Was: "1.0.0", Reason: "the newest that >=1.0.0 allows",
	}
	worker := api
	worker.Name, worker.Environment, worker.From, worker.Was, worker.Reason = "worker", "prod", "dev", "", ""
	one := Commit{
		Title: "shop: api 1.1.0 to dev", Body: "shop dev: api from 1.0.0 to 1.1.0", Author: "Tandem <tandem@example.com>",
		Apps: []string{"shop"}, Environments: []string{"dev"}, Images: []Image{api},
	}
	two := one
	two.Title, two.Environments, two.Images = "shop: 2 images to dev, prod", []string{"dev", "prod"}, []Image{api, worker}
	return []Commit{one, two}
}

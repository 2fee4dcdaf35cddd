package update_test

import (
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/message"
)

// worded returns the text of a commit of a loop with these templates, which goes on from it afterwards.
func worded(t *testing.T, config message.Config) (text string) {
	t.Helper()
	templates, err := message.Parse(config)
	if err != nil {
		t.Fatal(err)
	}
	playWith(t, shop(), func(s *scene) { s.words = templates }, func(s *scene) {
		s.release(api, "1.1.0")
		_, _, history := s.at()
		text = history[0].Message
		s.person("by hand", map[string]string{"env/dev/api.yaml": manifest("api", pinned(api, "1.0.0"))})
		s.wake()
		s.has(map[string]string{"env/dev/api.yaml": pinned(api, "1.0.0")})
	})
	return text
}

func TestCommitsAreWordedByTemplates(t *testing.T) {
	t.Parallel()
	_, ours, _ := strings.Cut(worded(t, message.Config{}), "\n\nTandem-App:")
	got := worded(t, message.Config{
		Title: "chore(deploy): {{.Title}}", Body: "{{range .Images}}{{.Name}} {{.Was}} -> {{.Tag}}{{end}}",
		Trailers: []string{"Signed-off-by: {{.Author}}"},
	})
	want := "chore(deploy): shop: api 1.1.0 to dev\n\napi 1.0.0 -> 1.1.0\n\nSigned-off-by: Tandem <tandem@example.com>\nTandem-App:" + ours
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWordsThatDoNotFitACommitAreNotUsed(t *testing.T) {
	t.Parallel()
	const scissors = "# ------------------------ >8 ------------------------"
	usual := worded(t, message.Config{})
	for name, body := range map[string]string{
		"our trailers behind scissors": scissors,
		"another's beside ours": "Tandem-Accept: " + strings.Repeat("a", 40) + "\n{{range .Images}}Tandem-App: {{.App}}\nTandem-Environment: {{.Environment}}\n" +
			"Tandem-Release: {{.Release}}\nTandem-Image: {{.Name}}={{.Repository}}:{{.Tag}}@{{.Digest}}\n{{end}}" + scissors,
		"an image that is not there": `{{if eq (index .Images 0).Repository "` + api + `"}}{{(index .Images 7).Name}}{{end}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := worded(t, message.Config{Body: body}); got != usual {
				t.Errorf("got\n%s\nwant\n%s", got, usual)
			}
		})
	}
}

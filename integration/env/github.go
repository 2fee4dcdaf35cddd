package env

import (
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	"github.com/tandem-cd/tandem/automator/githosttest"
)

// startGitHub puts a fake of GitHub before the world's repository. Its API makes commits in that repository, and what Git
// asks for goes through to the real server.
func (w *World) startGitHub() error {
	server, err := url.Parse(w.Git.URL(Repository))
	if err != nil {
		return err
	}
	app, err := githosttest.WriteKey(w.file("keys", "github-app"))
	if err != nil {
		return err
	}
	w.GitHub = githosttest.New(app, w.file("git", Repository+".git"))
	if w.GitHub.Signer, w.keys.github, err = githosttest.NewSigner(time.Now()); err != nil {
		return err
	}
	w.GitHub.Git = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(server)
		r.Out.SetBasicAuth(gitUser, w.keys.password)
	}}
	return os.WriteFile(w.file("keys", "github-ca"), w.GitHub.CA(), privateMode)
}

// byAPI has the automator know its repository as an App of the fake GitHub, and no key to sign with.
func (w *World) byAPI(config, repository fields) {
	config["signing"] = fields{"name": "Tandem", "email": "tandem@example.com"}
	repository["url"], repository["commit"], repository["caFile"] = w.GitHub.Remote(), "api", w.file("keys", "github-ca")
	repository["auth"] = fields{"githubApp": fields{
		"id": githosttest.AppID, "installation": githosttest.Installation, "keyFile": w.file("keys", "github-app"),
	}}
}

func (w *World) stopGitHub() {
	if w.GitHub != nil {
		w.GitHub.CloseClientConnections()
		w.GitHub.Close()
	}
}

package automator

import (
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/githost"
)

func TestRepositories(t *testing.T) {
	t.Parallel()
	app := AuthConfig{GitHubApp: GitHubAppConfig{ID: "Iv23li", Installation: "1", KeyFile: "app.pem"}}
	const github = "https://github.com/acme/deploy"
	tests := map[string]struct {
		config RepositoryConfig
		want   string // empty: nothing is wrong
	}{
		"Main":          {RepositoryConfig{Name: "deploy"}, ""},
		"Branches":      {RepositoryConfig{Name: "deploy", Branch: "trunk", Branches: []string{"release", "env/prod"}}, ""},
		"Twice":         {RepositoryConfig{Name: "deploy", Branches: []string{"release", "release"}}, `"release" is given twice`},
		"MainTwice":     {RepositoryConfig{Name: "deploy", Branches: []string{"main"}}, `"main" is given twice`},
		"FullName":      {RepositoryConfig{Name: "deploy", Branches: []string{"refs/heads/release"}}, "the name alone"},
		"Pattern":       {RepositoryConfig{Name: "deploy", Branches: []string{"env/*"}}, "not a full ref name"},
		"NoName":        {RepositoryConfig{Name: "deploy", Branches: []string{""}}, "the name alone"},
		"TooMany":       {RepositoryConfig{Name: "deploy", Branches: strings.Fields(strings.Repeat("b ", MaxBranches+1))}, "more than 100"},
		"Push":          {RepositoryConfig{Name: "deploy", Commit: "push"}, ""},
		"API":           {RepositoryConfig{Name: "deploy", URL: github, Commit: "api", Auth: app}, ""},
		"APIOfNobody":   {RepositoryConfig{Name: "deploy", URL: github, Commit: "api"}, "needs auth.githubApp"},
		"APIWithAToken": {RepositoryConfig{Name: "deploy", URL: github, Commit: "api", Auth: AuthConfig{PasswordFile: "pat"}}, "needs auth.githubApp"},
		"Mail":          {RepositoryConfig{Name: "deploy", Commit: "mail"}, "write push or api"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Config{Repositories: []RepositoryConfig{tc.config}}
			err := c.validateRepositories()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("validateRepositories() = %v, want %q", err, tc.want)
			}
		})
	}
}

// A key that signs is asked for as long as any commit is made here.
func TestWhoNeedsAKey(t *testing.T) {
	t.Parallel()
	byAPI, byPush := RepositoryConfig{Name: "a", Commit: "api"}, RepositoryConfig{Name: "b"}
	for name, tc := range map[string]struct {
		repositories []RepositoryConfig
		wanted       bool
	}{
		"None": {nil, true}, "API": {[]RepositoryConfig{byAPI}, false}, "Push": {[]RepositoryConfig{byPush}, true}, "Both": {[]RepositoryConfig{byAPI, byPush}, true},
	} {
		c := Config{Repositories: tc.repositories}
		if err := c.Validate(); strings.Contains(err.Error(), "signing.sshKeyFile is missing") != tc.wanted {
			t.Errorf("%s: %v; is a key to be asked for: %t", name, err, tc.wanted)
		}
	}
}

// What makes the commits is chosen for each repository.
func TestHostOfARepository(t *testing.T) {
	t.Parallel()
	r := RepositoryConfig{
		Name: "deploy", URL: "https://github.com/acme/deploy", Auth: AuthConfig{GitHubApp: GitHubAppConfig{ID: "Iv23li", Installation: "1", KeyFile: "app.pem"}},
	}
	pauses := &githost.Pauses{}
	for commit, made := range map[string]bool{"": false, "push": false, "api": true} {
		r.Commit = commit
		mirror, err := r.mirror(t.TempDir(), nil, pauses)
		if err != nil {
			t.Fatal(err)
		}
		host, err := r.host(mirror, pauses)
		if err != nil || (host != nil) != made {
			t.Errorf("host with commit %q: %v, %v", commit, host, err)
		}
	}
}

package env

import "net/url"

// GitURL is a repository of the world's Git server with the credentials of a person in it, for the git command of tests.
func (w *World) GitURL(repo string) (string, error) {
	u, err := url.Parse(w.Git.URL(repo))
	if err != nil {
		return "", err
	}
	u.User = url.UserPassword(gitUser, w.keys.password)
	return u.String(), nil
}

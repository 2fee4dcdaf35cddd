package images

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/tandem-cd/tandem/integration/env/source"
	"github.com/tandem-cd/tandem/integration/images/debian"
)

// pinned is what the automator's image needs besides its program.
func pinned() debian.Request {
	request := debian.Request{
		Release: "trixie",
		// git starts ssh by the shell.
		Packages: []string{"ca-certificates", "dash", "git", "openssh-client"},
		LeaveOut: []string{
			"adduser", "passwd", // the user is in the image's /etc/passwd
			"debconf", "debconf-2.0", "debianutils", "dpkg", "init-system-helpers", // only packages' scripts use them, and those are not run
			"openssl",               // ca-certificates' script; the bundle is made without it
			"perl", "liberror-perl", // git's subcommands that are perl scripts, none of which the automator calls
			"git-man", "gcc-14-base", // documentation
		},
	}
	for _, platform := range Platforms() {
		_, architecture, _ := strings.Cut(platform, "/")
		request.Architectures = append(request.Architectures, architecture)
	}
	return request
}

// Pin writes the lock file anew, with the newest packages of the release.
func Pin(ctx context.Context) (debian.Lock, error) {
	root, err := source.Dir()
	if err != nil {
		return debian.Lock{}, err
	}
	lock, err := debian.Fetcher{}.Resolve(ctx, pinned())
	if err != nil {
		return debian.Lock{}, err
	}
	content, err := lock.Write()
	if err != nil {
		return debian.Lock{}, err
	}
	return lock, os.WriteFile(filepath.Join(root, filepath.FromSlash(LockFile)), content, 0o644) //nolint:gosec // a source file
}

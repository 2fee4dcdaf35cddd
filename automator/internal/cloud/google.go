package cloud

import (
	"context"
	"net/http"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
)

const (
	// googleUser is the name that goes with an access token.
	googleUser = "oauth2accesstoken"
	// googleScope is what its registries ask for; what may be read is said by roles.
	googleScope = "https://www.googleapis.com/auth/cloud-platform"
)

func isGoogle(host string) bool {
	return host == "gcr.io" || strings.HasSuffix(host, ".gcr.io") || strings.HasSuffix(host, "-docker.pkg.dev")
}

// fromGoogle finds Application Default Credentials: the file that GOOGLE_APPLICATION_CREDENTIALS names (a key, or workload
// identity federation), or the metadata server.
func fromGoogle(ctx context.Context, _ string) (shortlived.Credentials, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Timeout: exchangeTimeout})
	found, err := google.FindDefaultCredentials(ctx, googleScope)
	if err != nil {
		return shortlived.Credentials{}, err
	}
	token, err := found.TokenSource.Token()
	if err != nil {
		return shortlived.Credentials{}, err
	}
	return shortlived.Credentials{Username: googleUser, Password: token.AccessToken, Expires: token.Expiry}, nil
}

package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
)

const (
	// azureUser is the name that goes with a refresh token of a registry.
	azureUser = "00000000-0000-0000-0000-000000000000"
	// azureScope asks for a token for registries and for nothing else.
	azureScope = "https://containerregistry.azure.net/.default"
	// azureLife is how long a registry's refresh token counts; the answer does not say it.
	azureLife = 3 * time.Hour
	// maxAnswerBytes bounds the answer of an exchange.
	maxAnswerBytes = 64 << 10
)

func isAzure(host string) bool {
	return strings.HasSuffix(host, ".azurecr.io") || strings.HasSuffix(host, ".azurecr.cn") || strings.HasSuffix(host, ".azurecr.us")
}

// azure exchanges an access token of Entra ID for a refresh token of a registry, as "Authenticate with an Azure container
// registry" describes it.
type azure struct {
	identity func() (azcore.TokenCredential, error)
	client   *http.Client
	scheme   string
}

func newAzure() *azure {
	return &azure{
		// Variables, workload identity, managed identity, in the order of the library.
		identity: func() (azcore.TokenCredential, error) { return azidentity.NewDefaultAzureCredential(nil) },
		client: &http.Client{
			Timeout: exchangeTimeout,
			// A token is sent to the registry that was named, and to nobody whom it names.
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return fault.New(fault.Unauthorized, "the registry redirects its token exchange")
			},
		},
		scheme: "https",
	}
}

func (a *azure) exchange(ctx context.Context, host string) (shortlived.Credentials, error) {
	identity, err := a.identity()
	if err != nil {
		return shortlived.Credentials{}, err
	}
	access, err := identity.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{azureScope}})
	if err != nil {
		return shortlived.Credentials{}, err
	}
	form := url.Values{"grant_type": {"access_token"}, "service": {host}, "access_token": {access.Token}}
	at := a.scheme + "://" + host + "/oauth2/exchange"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		return shortlived.Credentials{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	asked := time.Now()
	resp, err := a.client.Do(req)
	if err != nil {
		return shortlived.Credentials{}, shortlived.Unanswered(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return shortlived.Credentials{}, refusal(resp.StatusCode)
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, resp.Body, maxAnswerBytes))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return shortlived.Credentials{}, tooLarge
	}
	if err != nil {
		return shortlived.Credentials{}, shortlived.Unanswered(err)
	}
	var answer struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return shortlived.Credentials{}, errors.New("the registry's token exchange answers with something that is not JSON")
	}
	return shortlived.Credentials{Username: azureUser, Password: answer.RefreshToken, Expires: asked.Add(azureLife)}, nil
}

// refusal is the error of an exchange that was answered with a status.
func refusal(status int) error {
	kind, advice := shortlived.KindOfStatus(status), ""
	if kind == fault.Unauthorized {
		advice = "; has the identity the role AcrPull on it?"
	}
	return fault.New(kind, "the registry's token exchange answers %d%s", status, advice)
}

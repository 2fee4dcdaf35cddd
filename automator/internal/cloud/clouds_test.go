package cloud

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/tandem-cd/tandem/shared/fault"
)

// The clouds cannot be had in a test. What stands for them answers as their documentation says, and checks what it is
// asked; what finds out who asks is the clouds' own libraries, as in production.

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	server.Config.SetKeepAlivesEnabled(false)
	t.Cleanup(server.Close)
	return server
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fakeECRHost is whose password is wanted.
const fakeECRHost = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"

// withoutAWS takes away what the developer is on AWS.
func withoutAWS(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
}

// TestAWSByWebIdentity goes the way of a Pod: the token of its service account becomes a role, and that a password.
func TestAWSByWebIdentity(t *testing.T) {
	fakeSTS := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.PostForm.Get("Action") != "AssumeRoleWithWebIdentity" || r.PostForm.Get("WebIdentityToken") != "of-the-pod" {
			t.Errorf("STS is asked for %v, %v", r.PostForm, err)
		}
		fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>
			<AccessKeyId>ASIATEST</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>session</SessionToken>
			<Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	})
	expires := time.Now().Add(12 * time.Hour).Truncate(time.Second)
	fakeECR := serve(t, func(w http.ResponseWriter, r *http.Request) {
		signed := r.Header.Get("Authorization")
		if !strings.Contains(signed, "Credential=ASIATEST/") || !strings.Contains(signed, "/eu-central-1/ecr/") || r.Header.Get("X-Amz-Security-Token") != "session" {
			t.Errorf("ECR is asked with %q", signed)
		}
		if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetAuthorizationToken") {
			t.Errorf("ECR is asked for %q", r.Header.Get("X-Amz-Target"))
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		fmt.Fprintf(w, `{"authorizationData":[{"authorizationToken":%q,"expiresAt":%d}]}`,
			base64.StdEncoding.EncodeToString([]byte("AWS:password")), expires.Unix())
	})
	withoutAWS(t)
	t.Setenv("AWS_ENDPOINT_URL_STS", fakeSTS.URL)
	t.Setenv("AWS_ENDPOINT_URL_ECR", fakeECR.URL)
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/tandem")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", file(t, "token", "of-the-pod"))

	got, err := fromAWS(t.Context(), fakeECRHost)
	if err != nil || got.Username != "AWS" || got.Password != "password" || !got.Expires.Equal(expires) {
		t.Errorf("fromAWS: %+v, %v", got, err)
	}
}

func TestAWSWithoutIdentity(t *testing.T) {
	withoutAWS(t)
	if got, err := fromAWS(t.Context(), fakeECRHost); err == nil {
		t.Errorf("fromAWS: %+v, want an error", got)
	}
}

// TestGoogleByKey signs with the key of a service account.
func TestGoogleByKey(t *testing.T) {
	fakeTokens := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || strings.Count(r.PostForm.Get("assertion"), ".") != 2 {
			t.Errorf("the token server is asked with %v, %v", r.PostForm, err)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"ya29.test","token_type":"Bearer","expires_in":3600}`)
	})
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "tandem@acme.iam.gserviceaccount.com", "private_key_id": "1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": fakeTokens.URL,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file(t, "account.json", string(account)))

	got, err := fromGoogle(t.Context(), "eu.gcr.io")
	if err != nil || got.Username != googleUser || got.Password != "ya29.test" || time.Until(got.Expires) < 50*time.Minute {
		t.Errorf("fromGoogle: %+v, %v", got, err)
	}
}

// fakeIdentity is what the process is in Azure.
type fakeIdentity struct{ t *testing.T }

func (f fakeIdentity) GetToken(_ context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if len(options.Scopes) != 1 || options.Scopes[0] != azureScope {
		f.t.Errorf("a token for %v is asked for", options.Scopes)
	}
	return azcore.AccessToken{Token: "of-entra", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func fakeAzure(t *testing.T) *azure {
	t.Helper()
	a := newAzure()
	a.identity = func() (azcore.TokenCredential, error) { return fakeIdentity{t}, nil }
	a.scheme = "http"
	return a
}

func TestAzure(t *testing.T) {
	t.Parallel()
	fakeACR := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.URL.Path != "/oauth2/exchange" || r.PostForm.Get("access_token") != "of-entra" || r.PostForm.Get("service") != r.Host {
			t.Errorf("the registry is asked at %s with %v, %v", r.URL.Path, r.PostForm, err)
		}
		fmt.Fprint(w, `{"refresh_token":"of-the-registry"}`)
	})
	got, err := fakeAzure(t).exchange(t.Context(), strings.TrimPrefix(fakeACR.URL, "http://"))
	if err != nil || got.Username != azureUser || got.Password != "of-the-registry" || time.Until(got.Expires) < 2*time.Hour {
		t.Errorf("exchange: %+v, %v", got, err)
	}
}

func TestAzureRefuses(t *testing.T) {
	t.Parallel()
	other := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the token reached another host") })
	for name, tc := range map[string]struct {
		answer  http.HandlerFunc
		passing bool // it may go well by itself later
	}{
		"Role":     {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }},
		"TooOften": {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, passing: true},
		"Broken":   {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, passing: true},
		"CutOff":   {answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, passing: true},
		"Redirect": {answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}},
		"NoJSON":  {answer: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>of-entra</html>") }},
		"Endless": {answer: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat(" ", 2*maxAnswerBytes)) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fakeACR := serve(t, tc.answer)
			got, err := fakeAzure(t).exchange(t.Context(), strings.TrimPrefix(fakeACR.URL, "http://"))
			if err == nil || strings.Contains(err.Error(), "of-entra") {
				t.Errorf("exchange: %+v, %v; want an error without the token", got, err)
			}
			if fault.Is(err, fault.Unavailable) != tc.passing {
				t.Errorf("exchange: %v; does it pass by itself: want %v", err, tc.passing)
			}
		})
	}
}

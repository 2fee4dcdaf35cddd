package registry_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/shared/redact"
)

// TestWhatTheRegistryRepeats holds that no error has our credentials in it, although the registry says them in every way
// that it can.
func TestWhatTheRegistryRepeats(t *testing.T) {
	t.Parallel()
	const password = "pass/word+of=registry"
	said := func(req *http.Request) string {
		return strings.Join(redact.Forms(password), " ") + " " + strings.TrimPrefix(req.Header.Get("Authorization"), "Basic ")
	}
	answers := map[string]http.HandlerFunc{
		"Message": func(w http.ResponseWriter, req *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, password, said(req))
		},
		"Page": func(w http.ResponseWriter, req *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(said(req)))
		},
		"Redirect": func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "http://robot:"+password[:4]+"@127.0.0.2:1/?token="+url.QueryEscape(said(req)), http.StatusFound)
		},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := atomic.Bool{}
			w := newWorld(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
					switch _, given, _ := req.BasicAuth(); {
					case given != password:
						rw.Header().Set("WWW-Authenticate", `Basic realm="test"`)
						rw.WriteHeader(http.StatusUnauthorized)
					case strings.HasSuffix(req.URL.Path, "/tags/list"):
						asked.Store(true)
						answer(rw, req)
					default:
						next.ServeHTTP(rw, req)
					}
				})
			})
			client := w.client(func(h *registry.Host) { h.Username, h.PasswordFile = "robot", write(t, password) })
			_, _, err := client.Tags(t.Context(), w.host+"/acme/api")
			if err == nil || !asked.Load() {
				t.Fatalf("got %v; was the registry asked with credentials? %t", err, asked.Load())
			}
			header := base64.StdEncoding.EncodeToString([]byte("robot:" + password))
			for _, secret := range []string{password, header} {
				for _, form := range redact.Forms(secret) {
					if strings.Contains(err.Error(), form) {
						t.Errorf("got %q in %v", form, err)
					}
				}
			}
		})
	}
}

package vault_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/vault"
	"github.com/tandem-cd/tandem/automator/vaulttest"
	"github.com/tandem-cd/tandem/shared/fault"
)

func TestAuthMethods(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		auth  func(proof string) vault.Auth
		path  string
		body  map[string]string
		proof string
	}{
		"AppRole": {
			func(proof string) vault.Auth {
				return vault.Auth{AppRole: vault.AppRoleAuth{RoleID: "tandem", SecretIDFile: proof}}
			}, "auth/approle/login", map[string]string{"role_id": "tandem", "secret_id": "of-tandem"}, "of-tandem",
		},
		"AppRoleElsewhere": {
			func(proof string) vault.Auth {
				return vault.Auth{AppRole: vault.AppRoleAuth{Mount: "teams/delivery", RoleID: "tandem", SecretIDFile: proof}}
			}, "auth/teams/delivery/login", map[string]string{"role_id": "tandem", "secret_id": "of-tandem"}, "of-tandem",
		},
		"Kubernetes": {
			func(proof string) vault.Auth {
				return vault.Auth{Kubernetes: vault.JWTAuth{Role: "tandem", TokenFile: proof}}
			}, "auth/kubernetes/login", map[string]string{"role": "tandem", "jwt": "eyJ.of.Pod"}, "eyJ.of.Pod",
		},
		"JWT": {
			func(proof string) vault.Auth {
				return vault.Auth{JWT: vault.JWTAuth{Role: "tandem", TokenFile: proof}}
			}, "auth/jwt/login", map[string]string{"role": "tandem", "jwt": "eyJ.of.Pod"}, "eyJ.of.Pod",
		},
		"Token": {func(proof string) vault.Auth { return vault.Auth{Token: vault.TokenAuth{File: proof}} }, "", nil, "hvs.of-the-agent"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proof := file(t, tc.proof+"\n")
			f := newFixture(t, func(cfg *vault.Config) { cfg.Auth = tc.auth(proof) })
			f.fake.TakeLogin(tc.path, tc.body, granted(path))
			if tc.path == "" {
				f.fake.TakeToken(tc.proof, granted(path))
			}
			if got := f.password(t); got != "of-the-registry" {
				t.Errorf("the password is %q", got)
			}

			wrong := newFixture(t, func(cfg *vault.Config) { cfg.Auth = tc.auth(file(t, "planted-wrong-proof")) })
			wrong.fake.TakeLogin(tc.path, tc.body, granted(path))
			_, err := wrong.source(t, vault.Secret{Path: path}).Credentials(t.Context())
			if !fault.Is(err, fault.Unauthorized) || strings.Contains(err.Error(), "planted") || strings.Contains(err.Error(), "policy") {
				t.Errorf("with a wrong proof: %v; want it refused, without the proof", err)
			}
		})
	}
}

func TestSecretsOfEngines(t *testing.T) {
	t.Parallel()
	const config = `{"auths":{"registry.example.com":{"username":"robot","password":"pw"}}}`
	tests := map[string]struct {
		secret             vault.Secret
		username, password string
	}{
		"KV2":          {vault.Secret{Path: "secret/data/x"}, "", "of-kv2"},
		"KV2Name":      {vault.Secret{Path: "secret/data/x", UsernameField: "user", PasswordField: "token"}, "robot", "t0ken"},
		"KV1":          {vault.Secret{Path: "kv/x"}, "", "of-kv1"},
		"KV1LikeKV2":   {vault.Secret{Path: "kv/alike"}, "", "of-alike"},
		"Made":         {vault.Secret{Path: "engine/creds/pull", UsernameField: "username"}, "v-made-CAESIJ-fake-0002", "made-CAESIJ-fake-0002"},
		"DockerConfig": {vault.Secret{Path: "secret/data/x", DockerConfigField: ".dockerconfigjson"}, "", config},
		"LineBreak":    {vault.Secret{Path: "secret/data/x", PasswordField: "line"}, "", "one"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.fake.TakeLogin(loginAt, map[string]string{"role_id": "tandem", "secret_id": secretID}, granted(tc.secret.Path))
			f.fake.PutKV2("secret/data/x", map[string]any{"password": "of-kv2", "user": "robot", "token": "t0ken", ".dockerconfigjson": config, "line": "one\n"})
			f.fake.PutKV1("kv/x", map[string]any{"password": "of-kv1"}, 0)
			f.fake.PutKV1("kv/alike", map[string]any{"password": "of-alike", "data": map[string]any{}}, 0)
			f.fake.MakeAt("engine/creds/pull", 3600e9)
			got, err := f.source(t, tc.secret).Credentials(t.Context())
			if err != nil || got.Username != tc.username || got.Password != tc.password {
				t.Errorf("Credentials: %+v, %v", got, err)
			}
		})
	}
}

func TestASecretHasOneSource(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	one, other := f.source(t, vault.Secret{Path: path}), f.source(t, vault.Secret{Path: path})
	if one != other || one == f.source(t, vault.Secret{Path: path, PasswordField: "token"}) {
		t.Error("the same secret is read twice, or another one is taken for it")
	}
}

// TestWhatIsWrongIsSaid wants to know what to do, and none of what is secret.
func TestWhatIsWrongIsSaid(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		secret vault.Secret
		change func(*vaulttest.Fake)
		config func(*vault.Config)
		kind   fault.Kind
		says   []string
	}{
		"Denied":         {secret: vault.Secret{Path: "kv/other"}, kind: fault.Unauthorized, says: []string{"403", `path "kv/other" { capabilities = ["read"] }`, "MOUNT/data/NAME"}},
		"NotThere":       {secret: vault.Secret{Path: "secret/data/none"}, kind: fault.Unauthorized, says: []string{"404", "no such secret"}},
		"NotThereAsKV1":  {secret: vault.Secret{Path: "secret/registry"}, kind: fault.Unauthorized, says: []string{"404", "MOUNT/data/NAME"}},
		"Deleted":        {change: func(f *vaulttest.Fake) { f.DeleteKV2(path) }, kind: fault.Unauthorized, says: []string{"404", "newest version of the secret is deleted"}},
		"Field":          {secret: vault.Secret{Path: path, PasswordField: "token"}, kind: fault.Unauthorized, says: []string{`no field "token"`, `"password", "username"`}},
		"FieldIsNoText":  {secret: vault.Secret{Path: path, PasswordField: "number"}, kind: fault.Unauthorized, says: []string{`"number" is not a text`}},
		"FieldHasLines":  {secret: vault.Secret{Path: path, PasswordField: "lines"}, kind: fault.Unauthorized, says: []string{`"lines" is not one line`}},
		"UserField":      {secret: vault.Secret{Path: path, UsernameField: "login"}, kind: fault.Unauthorized, says: []string{`no field "login"`}},
		"Sealed":         {change: func(f *vaulttest.Fake) { f.Seal(true) }, kind: fault.Unavailable, says: []string{"503", "Vault is sealed", "unseal"}},
		"Broken":         {change: func(f *vaulttest.Fake) { f.Break(http.StatusInternalServerError) }, kind: fault.Unavailable, says: []string{"500"}},
		"TooOften":       {change: func(f *vaulttest.Fake) { f.Break(http.StatusTooManyRequests) }, kind: fault.Unavailable, says: []string{"429"}},
		"OtherNamespace": {change: func(f *vaulttest.Fake) { f.InNamespace("team") }, kind: fault.Unauthorized, says: []string{"log in at " + loginAt, "403", "namespace"}},
		"NoProof":        {config: func(cfg *vault.Config) { cfg.Auth.AppRole.SecretIDFile += ".gone" }, kind: fault.Unauthorized, says: []string{"no such file"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.config == nil {
				tc.config = func(*vault.Config) {}
			}
			f := newFixture(t, tc.config)
			f.fake.TakeLogin(loginAt, map[string]string{"role_id": "tandem", "secret_id": secretID}, granted(path, "secret/data/none", "secret/registry"))
			f.fake.PutKV2(path, map[string]any{"username": "robot", "password": "planted-password", "number": 4711, "lines": "planted\nline"})
			if tc.change != nil {
				tc.change(f.fake)
			}
			if tc.secret.Path == "" {
				tc.secret.Path = path
			}
			_, err := f.source(t, tc.secret).Credentials(t.Context())
			if !fault.Is(err, tc.kind) {
				t.Fatalf("Credentials: %v, want kind %s", err, tc.kind)
			}
			for _, part := range append(tc.says, tc.secret.Path+" of Vault") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v does not say %q", err, part)
				}
			}
			for _, secret := range []string{"planted", "4711", secretID, "hvs.", "\n"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%v says %q", err, secret)
				}
			}
		})
	}
}

// TestNamespace asks in the one that is configured.
func TestNamespace(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(cfg *vault.Config) { cfg.Namespace = "team/delivery" })
	f.fake.InNamespace("team/delivery")
	if got := f.password(t); got != "of-the-registry" {
		t.Errorf("the password is %q", got)
	}
}

// TestWhatIsNoVault takes what answers in its place.
func TestWhatIsNoVault(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"Page":  {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>planted</html>") }, "no Vault"},
		"Empty": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }, "no token"},
		"Endless": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, strings.Repeat(" ", 2*vault.MaxAnswerBytes))
		}, "more than"},
		"TokenOfTwoLines": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"auth": {"client_token": "hvs.planted\r\nX-Evil: 1"}}`)
		}, "no token"},
		"Moved": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, "302"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.DialWith(inMemory(t, tc.answer))
			_, err := f.source(t, vault.Secret{Path: path}).Credentials(t.Context())
			if !fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "planted") {
				t.Errorf("Credentials: %v, want %q", err, tc.says)
			}
		})
	}
}

func TestWithoutAVault(t *testing.T) {
	t.Parallel()
	client, err := vault.New(vault.Config{}, vault.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Source(vault.Secret{Path: path}); err == nil || !strings.Contains(err.Error(), "vault.address") {
		t.Errorf("Source: %v, want what is missing", err)
	}
	if problems := client.Problems(); len(problems) > 0 {
		t.Errorf("problems of what nobody uses: %+v", problems)
	}
}

package vault

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/config"
)

// method is one way to be known to Vault.
type method struct {
	// path is where to log in; empty where the proof is the token itself.
	path string
	// proofFile holds what nobody else may know.
	proofFile string
	// body is what is sent to log in with a proof.
	body func(proof string) map[string]string
}

// method returns the one that is configured.
func (a Auth) method() (method, error) {
	var given []method
	if a.Token != (TokenAuth{}) {
		given = append(given, method{proofFile: a.Token.File})
	}
	if a.AppRole != (AppRoleAuth{}) {
		if a.AppRole.RoleID == "" || a.AppRole.SecretIDFile == "" {
			return method{}, errors.New("appRole: roleID and secretIDFile go together")
		}
		given = append(given, method{
			path: loginPath(a.AppRole.Mount, "approle"), proofFile: a.AppRole.SecretIDFile,
			body: func(proof string) map[string]string {
				return map[string]string{"role_id": a.AppRole.RoleID, "secret_id": proof}
			},
		})
	}
	for _, one := range []struct {
		auth             JWTAuth
		name, standardAt string
	}{{a.Kubernetes, "kubernetes", serviceAccountToken}, {a.JWT, "jwt", ""}} {
		if one.auth == (JWTAuth{}) {
			continue
		}
		file := cmp.Or(one.auth.TokenFile, one.standardAt)
		if one.auth.Role == "" || file == "" {
			return method{}, fmt.Errorf("%s: role and tokenFile go together", one.name)
		}
		given = append(given, method{
			path: loginPath(one.auth.Mount, one.name), proofFile: file,
			body: func(proof string) map[string]string {
				return map[string]string{"role": one.auth.Role, "jwt": proof}
			},
		})
	}
	if len(given) != 1 {
		return method{}, errors.New("exactly one of token, appRole, kubernetes and jwt is needed")
	}
	return given[0], checkPath(strings.TrimSuffix(given[0].path, "/login"))
}

func loginPath(mount, standard string) string {
	return "auth/" + cmp.Or(mount, standard) + "/login"
}

// proof reads what nobody else may know.
func (m method) proof() (string, error) {
	proof, err := config.ReadSecret(m.proofFile)
	if err == nil && (proof == "" || strings.ContainsAny(proof, "\r\n\x00")) {
		err = fmt.Errorf("%s does not hold one line", m.proofFile)
	}
	if err != nil {
		return "", shortlived.Unheard(err)
	}
	return proof, nil
}

// checkPath refuses what would not stay the path of an API that it looks like; empty is a path.
func checkPath(path string) error {
	if path == "" {
		return nil
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("%.200q has an empty part or dots; write it like secret/data/registry", path)
		}
	}
	if strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`?#%\*+`, r) }) {
		return fmt.Errorf("%.200q has a character that no path of a secret needs", path)
	}
	return nil
}

package vault

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/tandem-cd/tandem/shared/fault"
)

// explain says what to do about a path that is not to be read.
func explain(path string, err error) error {
	hint := ""
	if !strings.Contains(path, "/data/") {
		hint = "; in a KV of version 2 the path is MOUNT/data/NAME"
	}
	refused, ok := errors.AsType[*refusal](err)
	switch {
	case !ok:
		return err
	case refused.status == http.StatusForbidden:
		return fault.New(fault.Unauthorized, "%w: a policy of its token needs: path %q { capabilities = [\"read\"] }%s", err, path, hint)
	case refused.status == http.StatusNotFound && refused.deleted():
		return fault.New(fault.Unauthorized, "%w: the newest version of the secret is deleted", err)
	case refused.status == http.StatusNotFound:
		return fault.New(fault.Unauthorized, "%w: there is no such secret%s", err, hint)
	case refused.status == http.StatusMethodNotAllowed:
		return fault.New(fault.Unauthorized, "%w: nothing can be read there", err)
	}
	return err
}

// deleted tells whether a KV of version 2 says that there was such a secret.
func (r *refusal) deleted() bool {
	var metadata struct {
		Version int `json:"version"`
	}
	return json.Unmarshal(r.data["metadata"], &metadata) == nil && metadata.Version > 0
}

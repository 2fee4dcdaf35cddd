package githost

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

const (
	// patience is how long to leave a host alone that says that it had too much, and not for how long; GitHub asks for a
	// minute.
	patience = time.Minute
	// maxPatience bounds what a host can ask for; GitHub's longest limit is one of an hour.
	maxPatience = time.Hour
)

// LaterError says that a host did nothing, because it had too many requests, and when to come again.
type LaterError struct {
	After  time.Duration
	Reason string
}

func (e *LaterError) Error() string {
	return fmt.Sprintf("the API had too many requests, and is asked again in %s: %s", e.After, e.Reason)
}

// answer is what GraphQL answered.
type answer struct {
	status int
	header http.Header
	body   []byte
	now    time.Time
}

// The types of errors in GraphQL by which GitHub says that it did nothing. Of other errors, such as that of a request that
// took too long, nobody knows.
const (
	typeStale   = "STALE_DATA"
	typeLimited = "RATE_LIMITED"
)

// refusing tells whether a type of error says that somebody has to change something.
func refusing(kind string) bool {
	switch kind {
	case "FORBIDDEN", "NOT_FOUND", "UNPROCESSABLE", "INSUFFICIENT_SCOPES", "UNAUTHENTICATED", "ARGUMENT_ERROR", "INVALID":
		return true
	}
	return false
}

// read tells what came of a commit.
func read(a answer) (gitobject.ID, error) {
	var said struct {
		Message string `json:"message"`
		Data    struct {
			Created *struct {
				Commit struct {
					ID string `json:"oid"`
				} `json:"commit"`
			} `json:"createCommitOnBranch"`
		} `json:"data"`
		Errors []struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	decoded := json.Unmarshal(a.body, &said)
	if a.status != http.StatusOK {
		return gitobject.ID{}, a.failure(said.Message)
	}
	if decoded != nil {
		return gitobject.ID{}, fmt.Errorf("%w: the API answers with something that is no JSON", ErrOutcomeUnknown)
	}
	if said.Data.Created != nil {
		id, err := gitobject.ParseID(said.Data.Created.Commit.ID)
		if err != nil {
			return id, fmt.Errorf("%w: the API answers with something that is no commit: %w", ErrOutcomeUnknown, err)
		}
		return id, nil
	}
	if len(said.Errors) == 0 {
		return gitobject.ID{}, fmt.Errorf("%w: the API answers neither with a commit nor with an error", ErrOutcomeUnknown)
	}
	first := said.Errors[0]
	reason := clip(first.Message)
	switch {
	case first.Type == typeStale:
		return gitobject.ID{}, fault.New(fault.Conflict, "%s", reason)
	case first.Type == typeLimited, saysLimited(first.Message):
		return gitobject.ID{}, &LaterError{After: a.pause(), Reason: reason}
	case refusing(first.Type):
		return gitobject.ID{}, fault.New(fault.Unauthorized, "the API refuses (%s): %s", first.Type, reason)
	}
	return gitobject.ID{}, fmt.Errorf("%w: the API says %s", ErrOutcomeUnknown, orElse(reason, first.Type))
}

// limited tells whether a host says that it had too many requests. GitHub says it by 403 too; see "Rate limits for the REST API".
func limited(status int, header http.Header, message string) bool {
	switch status {
	case http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
		return header.Get("Retry-After") != "" || header.Get("X-Ratelimit-Remaining") == "0" || saysLimited(message)
	}
	return false
}

// saysLimited tells whether a message is that of a secondary limit, which may come with no header.
func saysLimited(message string) bool {
	return strings.Contains(strings.ToLower(message), "secondary rate limit")
}

func (a answer) reason(message string) string {
	return fmt.Sprintf("the API answers %d: %s", a.status, clip(message))
}

// failure is the error of a status other than 200.
func (a answer) failure(message string) error {
	reason := a.reason(message)
	switch {
	case limited(a.status, a.header, message):
		return &LaterError{After: a.pause(), Reason: reason}
	case a.status == http.StatusRequestTimeout, a.status >= 500, a.status < 300:
		return fmt.Errorf("%w: %s", ErrOutcomeUnknown, reason)
	case a.status == http.StatusRequestEntityTooLarge:
		return fault.New(fault.Invalid, "%s", reason)
	}
	return fault.New(fault.Unauthorized, "%s", reason)
}

// pause is how long the host wants to be left alone.
func (a answer) pause() time.Duration {
	wish := patience
	if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err == nil {
		wish = time.Duration(min(seconds, int(maxPatience/time.Second))) * time.Second
	} else if reset, err := strconv.ParseInt(a.header.Get("X-Ratelimit-Reset"), 10, 64); err == nil && a.header.Get("X-Ratelimit-Remaining") == "0" {
		wish = time.Unix(reset, 0).Sub(a.now)
	}
	return min(max(wish, time.Second), maxPatience)
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

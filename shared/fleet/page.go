package fleet

import (
	"encoding/base64"

	"github.com/tandem-cd/tandem/shared/fault"
)

// Page sizes of every list.
const (
	// DefaultPage is used when the caller names no size.
	DefaultPage = 100
	// MaxPage bounds what a caller may ask for.
	MaxPage = 1000
)

// PageSize returns the size to use for what a caller asked.
func PageSize(asked int32) (int, error) {
	switch {
	case asked == 0:
		return DefaultPage, nil
	case asked < 0 || asked > MaxPage:
		return 0, fault.New(fault.Invalid, "page_size %d is not between 1 and %d", asked, MaxPage)
	default:
		return int(asked), nil
	}
}

// Page cuts one page out of sorted items. The token is the name of the last item of the page before, so that items that
// come and go between two pages neither repeat nor hide others.
func Page[T any](items []T, name func(T) string, size int, token string) (page []T, next string, err error) {
	after, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil, "", fault.New(fault.Invalid, "page_token %.40q is not one that this server gave", token)
	}
	start := 0
	for token != "" && start < len(items) && name(items[start]) <= string(after) {
		start++
	}
	end := min(start+size, len(items))
	if end < len(items) {
		next = base64.RawURLEncoding.EncodeToString([]byte(name(items[end-1])))
	}
	return items[start:end], next, nil
}

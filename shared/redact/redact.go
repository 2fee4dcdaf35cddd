// Package redact keeps secrets out of what is said.
//
// What a Git host, a registry, a proxy or another peer answers may repeat what it was sent: a header, an address with
// credentials, a token in its error. Whoever talks to one has a Secrets, tells it what is sent, and lets every foreign text
// through it before the text becomes part of an error: from there it goes to logs, events, conditions and command lines.
package redact

import (
	"cmp"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// Mark stands where a secret was.
const Mark = "[redacted]"

const (
	// shortest is the length of the shortest value that is looked for, in bytes: what is shorter is part of half of all
	// words, and found by trying.
	shortest = 4
	// most bounds the values that are known at a time. The newest count: tokens are replaced all day.
	most = 256
)

// Secrets finds the secrets that it knows in texts. Its methods are safe for concurrent use. The zero value knows none, and
// nil does too.
type Secrets struct {
	mu       sync.Mutex
	values   []string          // oldest first
	replacer *strings.Replacer // of all forms of values; nil when they changed
}

// New returns Secrets that know the passwords of the proxies in this process's environment, which every client sends.
func New() *Secrets {
	s := &Secrets{}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"} {
		if u, err := url.Parse(os.Getenv(name)); err == nil {
			password, _ := u.User.Password()
			s.Add(password)
		}
	}
	return s
}

// Add makes values known. Of one with several lines, each line is.
func (s *Secrets) Add(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, value := range values {
		for line := range strings.Lines(value) {
			line = strings.TrimSpace(line)
			if len(line) < shortest || slices.Contains(s.values, line) {
				continue
			}
			s.values = append(s.values, line)
			s.replacer = nil
		}
	}
	s.values = s.values[max(0, len(s.values)-most):]
}

// Text returns a text without the secrets that are known, in whatever way they are written, and without the credentials in
// addresses.
func (s *Secrets) Text(text string) string {
	if s == nil {
		return Addresses(text)
	}
	return Addresses(s.forms().Replace(text))
}

func (s *Secrets) forms() *strings.Replacer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.replacer == nil {
		var forms []string
		for _, value := range s.values {
			forms = append(forms, Forms(value)...)
		}
		// The longest first: a value may be part of another one.
		slices.SortFunc(forms, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
		pairs := make([]string, 0, 2*len(forms))
		for _, form := range slices.Compact(forms) {
			pairs = append(pairs, form, Mark)
		}
		s.replacer = strings.NewReplacer(pairs...)
	}
	return s.replacer
}

var (
	// webUser is what stands before the host of a web address: a token as often as a name.
	webUser = regexp.MustCompile(`(?i)\b(https?://)[^\s/@"'<>]+@`)
	// anyPassword is a password in an address of any kind.
	anyPassword = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://[^\s/@:"'<>]*):[^\s/@"'<>]+@`)
	// bareUser is a name and password before a host, without the kind of address; what a digest follows on is none.
	bareUser = regexp.MustCompile(`(?i)([^\s/@:"'<>]+):[^\s/@"'<>]+@([a-z0-9.-]+(?::\d+)?/)`)
	// query is the query of a web address: signatures and tokens travel there.
	query = regexp.MustCompile(`(?i)\b(https?://[^\s?"'<>]+)\?[^\s"'<>]+`)
)

// OneLine makes foreign words fit into one line, without control characters, and cuts them after so many bytes.
func OneLine(text string, most int) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// Addresses returns a text without the credentials that addresses in it hold: users of web addresses and their queries,
// and passwords of all.
func Addresses(text string) string {
	if !strings.ContainsAny(text, "@?") {
		return text
	}
	text = webUser.ReplaceAllString(text, "${1}"+Mark+"@")
	text = anyPassword.ReplaceAllString(text, "${1}:"+Mark+"@")
	text = bareUser.ReplaceAllString(text, "${1}:"+Mark+"@${2}")
	return query.ReplaceAllString(text, "${1}?"+Mark)
}

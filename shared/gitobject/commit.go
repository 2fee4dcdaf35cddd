package gitobject

import (
	"slices"
	"strings"
)

// Commit is a decoded commit object, or one to be built.
type Commit struct {
	Tree      ID
	Parents   []ID
	Author    Person
	Committer Person

	// Extra are the headers after the committer but for the signature, in
	// order: encoding, mergetag and the like.
	Extra []Header

	// Signature is the armored signature of the tree's own algorithm, ending
	// in a newline; nil when unsigned.
	Signature []byte

	// AfterSignature is how many headers of Extra follow the signature. Git
	// writes none there, other implementations do.
	AfterSignature int

	// Message is everything after the headers.
	Message string
}

// Names of the signature headers. A commit that lives in repositories of both
// algorithms carries both; neither is part of what either signs.
const (
	signatureSHA1   = "gpgsig"
	signatureSHA256 = "gpgsig-sha256"
)

func (a Algorithm) signatureHeader() string {
	if a == SHA256 {
		return signatureSHA256
	}
	return signatureSHA1
}

// DecodeCommit reads a commit as strictly as `git fsck --strict`. Further than
// fsck it goes with signatures, of which there may be one per algorithm.
func DecodeCommit(a Algorithm, raw []byte) (*Commit, error) {
	headers, message, err := split(raw)
	if err != nil {
		return nil, err
	}
	r := &headerReader{headers: headers}
	c := &Commit{Message: message}
	c.Tree = r.id(a, r.take("tree"))
	for parent, ok := r.takeIf("parent"); ok; parent, ok = r.takeIf("parent") {
		c.Parents = append(c.Parents, r.id(a, parent))
	}
	c.Author = r.person(r.take("author"))
	c.Committer = r.person(r.take("committer"))
	if r.err != nil {
		return nil, r.err
	}
	if len(c.Parents) > MaxParents {
		return nil, malformed("commit of %d parents has more than %d", len(c.Parents), MaxParents)
	}
	return c, c.takeExtra(a, r.headers)
}

func (c *Commit) takeExtra(a Algorithm, headers []Header) error {
	seen := map[string]bool{}
	for _, h := range headers {
		if slices.Contains([]string{"tree", "parent", "author", "committer"}, h.Key) {
			return malformed("%s stands where it must not", h.Key)
		}
		signature := strings.HasPrefix(h.Key, signatureSHA1)
		if signature && (seen[h.Key] || h.Key != signatureSHA1 && h.Key != signatureSHA256) {
			return malformed("signature header %q is unknown or stands twice", clip(h.Key))
		}
		seen[h.Key] = true
		if h.Key == a.signatureHeader() {
			c.Signature = []byte(h.Value + "\n")
			continue
		}
		c.Extra = append(c.Extra, h)
		if c.Signature != nil {
			c.AfterSignature++
		}
	}
	return nil
}

// Encode is the content of the commit object. Characters that cannot stand
// where they are, such as a newline in a name, are dropped, so that nobody's
// name or message can add a header.
func (c *Commit) Encode() []byte {
	raw := c.appendHeaders(nil, true)
	return c.appendMessage(raw)
}

// SignedPayload is what a signature covers: the commit without its signatures.
func (c *Commit) SignedPayload() []byte {
	raw := c.appendHeaders(nil, false)
	return c.appendMessage(raw)
}

func (c *Commit) appendHeaders(raw []byte, signed bool) []byte {
	raw = appendHeader(raw, "tree", c.Tree.String())
	for _, parent := range c.Parents {
		raw = appendHeader(raw, "parent", parent.String())
	}
	raw = appendHeader(raw, "author", c.Author.encode())
	raw = appendHeader(raw, "committer", c.Committer.encode())
	signatureAt := len(c.Extra) - min(c.AfterSignature, len(c.Extra))
	for i, h := range c.Extra {
		if signed && i == signatureAt {
			raw = c.appendSignature(raw)
		}
		if signed || !strings.HasPrefix(h.Key, signatureSHA1) {
			raw = appendHeader(raw, h.Key, h.Value)
		}
	}
	if signed && signatureAt == len(c.Extra) {
		raw = c.appendSignature(raw)
	}
	return raw
}

func (c *Commit) appendSignature(raw []byte) []byte {
	if len(c.Signature) == 0 {
		return raw
	}
	value := strings.TrimSuffix(string(c.Signature), "\n")
	return appendHeader(raw, c.Tree.algorithm.signatureHeader(), value)
}

func (c *Commit) appendMessage(raw []byte) []byte {
	raw = append(raw, '\n')
	return append(raw, without(c.Message, "\x00")...)
}

// HasParent tells whether id is one of the parents.
func (c *Commit) HasParent(id ID) bool { return slices.Contains(c.Parents, id) }

// Trailers are the trailers of the message.
func (c *Commit) Trailers() []Trailer { return ParseTrailers(c.Message) }

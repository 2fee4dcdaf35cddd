package gitobject

import (
	"bytes"
	"strings"
)

// Tag is a decoded annotated tag, or one to be built.
type Tag struct {
	Object    ID
	Type      Type
	Name      string
	Tagger    Person
	Message   string // without the signature
	Signature []byte // armored; nil when unsigned
}

// DecodeTag reads an annotated tag as strictly as `git fsck --strict`, which
// takes neither a missing tagger nor further headers.
func DecodeTag(a Algorithm, raw []byte) (*Tag, error) {
	headers, message, err := split(raw)
	if err != nil {
		return nil, err
	}
	r := &headerReader{headers: headers}
	t := &Tag{}
	t.Object = r.id(a, r.take("object"))
	word := r.take("type")
	t.Name = r.take("tag")
	t.Tagger = r.person(r.take("tagger"))
	if r.err != nil {
		return nil, r.err
	}
	if t.Type, err = ParseType(word); err != nil {
		return nil, err
	}
	if len(r.headers) > 0 {
		return nil, malformed("tag has a header %q", clip(r.headers[0].Key))
	}
	if !validTagName(t.Name) {
		return nil, malformed("tag has the name %q", clip(t.Name))
	}
	t.Message, t.Signature = cutSignature(message)
	return t, nil
}

// cutSignature splits a tag's message where the last armor begins.
func cutSignature(message string) (text string, signature []byte) {
	at := -1
	for start := 0; start < len(message); {
		if beginsArmor(message[start:]) {
			at = start
		}
		next := strings.IndexByte(message[start:], '\n')
		if next < 0 {
			break
		}
		start += next + 1
	}
	if at < 0 {
		return message, nil
	}
	return message[:at], []byte(message[at:])
}

func beginsArmor(text string) bool {
	for _, kind := range []string{"SSH SIGNATURE", "PGP SIGNATURE", "PGP MESSAGE", "SIGNED MESSAGE"} {
		if strings.HasPrefix(text, "-----BEGIN "+kind+"-----") {
			return true
		}
	}
	return false
}

// SignedPayload is what the signature covers: everything before it.
func (t *Tag) SignedPayload() []byte {
	raw := appendHeader(nil, "object", t.Object.String())
	raw = appendHeader(raw, "type", t.Type.String())
	raw = appendHeader(raw, "tag", without(t.Name, "\n"))
	raw = appendHeader(raw, "tagger", t.Tagger.encode())
	raw = append(raw, '\n')
	raw = append(raw, without(t.Message, "\x00")...)
	if len(t.Signature) > 0 && t.Message != "" && !strings.HasSuffix(t.Message, "\n") {
		raw = append(raw, '\n')
	}
	return raw
}

// Encode is the content of the tag object.
func (t *Tag) Encode() []byte {
	return append(t.SignedPayload(), bytes.ReplaceAll(t.Signature, []byte{0}, nil)...)
}

// Trailers are the trailers of the message.
func (t *Tag) Trailers() []Trailer { return ParseTrailers(t.Message) }

// validTagName follows `git check-ref-format refs/tags/<name>`.
func validTagName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c == 0x7f || strings.IndexByte(`~^:?*[\`, c) >= 0 {
			return false
		}
	}
	if strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.HasSuffix(name, ".") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

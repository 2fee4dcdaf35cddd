package gitobject

import (
	"bytes"
	"strings"
)

// Header is one header of a commit. A value of several lines holds newlines;
// the object holds a space at the head of each further line.
type Header struct {
	Key   string
	Value string
}

// split separates an object's headers from its message. Git tolerates an
// object without the blank line between them; we do not.
func split(raw []byte) (headers []Header, message string, err error) {
	if len(raw) > MaxCommitSize {
		return nil, "", malformed("object of %d bytes is larger than %d", len(raw), MaxCommitSize)
	}
	if i := bytes.IndexByte(raw, 0); i >= 0 {
		return nil, "", malformed("NUL at byte %d", i)
	}
	rest := string(raw)
	for {
		line, after, ok := strings.Cut(rest, "\n")
		if !ok {
			return nil, "", malformed("headers do not end in a blank line")
		}
		rest = after
		if line == "" {
			return headers, rest, nil
		}
		if headers, err = appendLine(headers, line); err != nil {
			return nil, "", err
		}
	}
}

func appendLine(headers []Header, line string) ([]Header, error) {
	if line[0] == ' ' {
		if len(headers) == 0 {
			return nil, malformed("object begins with a continued line")
		}
		last := &headers[len(headers)-1]
		last.Value += "\n" + line[1:]
		return headers, nil
	}
	key, value, ok := strings.Cut(line, " ")
	if !ok {
		return nil, malformed("header %q has no value", clip(line))
	}
	return append(headers, Header{Key: key, Value: value}), nil
}

// appendHeader writes one header. What would end the header early is dropped.
func appendHeader(raw []byte, key, value string) []byte {
	raw = append(raw, without(key, " \n\x00")...)
	raw = append(raw, ' ')
	raw = append(raw, strings.ReplaceAll(without(value, "\x00"), "\n", "\n ")...)
	return append(raw, '\n')
}

// without drops the characters in cutset.
func without(s, cutset string) string {
	if !strings.ContainsAny(s, cutset) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(cutset, r) {
			return -1
		}
		return r
	}, s)
}

// headerReader takes headers in the order an object must have them.
type headerReader struct {
	headers []Header
	err     error
}

// take returns the value of the next header, which must be key.
func (r *headerReader) take(key string) string {
	if r.err != nil {
		return ""
	}
	value, ok := r.takeIf(key)
	if !ok {
		r.err = malformed("no %s where it must stand", key)
	}
	return value
}

// takeIf returns the value of the next header if that is key.
func (r *headerReader) takeIf(key string) (string, bool) {
	if r.err != nil || len(r.headers) == 0 || r.headers[0].Key != key {
		return "", false
	}
	value := r.headers[0].Value
	r.headers = r.headers[1:]
	return value, true
}

// id reads an id of algorithm a.
func (r *headerReader) id(a Algorithm, text string) ID {
	if r.err != nil {
		return ID{}
	}
	id, err := ParseID(text)
	if err != nil || id.algorithm != a {
		r.err = malformed("%q is not a %s id", clip(text), a)
		return ID{}
	}
	return id
}

// person reads a name, address and time.
func (r *headerReader) person(text string) Person {
	if r.err != nil {
		return Person{}
	}
	p, err := parsePerson(text)
	r.err = err
	return p
}

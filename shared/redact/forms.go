package redact

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
)

// certain is how many characters of Base64 tell a value from chance.
const certain = 8

// Forms are the ways in which a value is written in requests and messages: as it is, quoted, in an address, and in Base64,
// alone or as part of something longer such as "user:password". The value itself is the first.
func Forms(value string) []string {
	quoted := strconv.Quote(value)
	forms := []string{value, quoted[1 : len(quoted)-1]}
	for _, escaped := range []string{url.QueryEscape(value), url.PathEscape(value)} {
		forms = append(forms, escaped, lowerEscapes(escaped))
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		forms = append(forms, strings.TrimRight(encoding.EncodeToString([]byte(value)), "="))
		for offset := range 3 {
			if core := within(encoding, value, offset); len(core) >= certain {
				forms = append(forms, core)
			}
		}
	}
	return forms
}

// within is what a value looks like in the Base64 of something in which so many bytes, modulo 3, stand before it: the
// characters that depend on nothing else.
func within(encoding *base64.Encoding, value string, offset int) string {
	const bits, char = 8, 6
	encoded := encoding.EncodeToString([]byte(strings.Repeat("\x00", offset) + value))
	first := (offset*bits + char - 1) / char
	last := (offset + len(value)) * bits / char
	if first >= last {
		return ""
	}
	return encoded[first:last]
}

// lowerEscapes writes the digits of percent encoding in lower case.
func lowerEscapes(text string) string {
	out := []byte(text)
	for i := 0; i+2 < len(out); i++ {
		if out[i] == '%' {
			copy(out[i+1:i+3], strings.ToLower(string(out[i+1:i+3])))
		}
	}
	return string(out)
}

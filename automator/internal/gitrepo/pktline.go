package gitrepo

import (
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxLine is the longest line that gitprotocol-common allows, its length included.
const maxLine = 65520

var errBadLine = errors.New("malformed line of the protocol")

// appendLine appends a line in the form of gitprotocol-common.
func appendLine(out []byte, line string) []byte {
	return append(fmt.Appendf(out, "%04x", len(line)+4), line...)
}

// appendFlush appends the end of a list of lines.
func appendFlush(out []byte) []byte { return append(out, "0000"...) }

// readLine reads a line, which may be empty; flush says that it was the end of a list.
func readLine(from io.Reader) (line []byte, flush bool, err error) {
	var prefix [4]byte
	if _, err := io.ReadFull(from, prefix[:]); err != nil {
		return nil, false, err
	}
	length, err := strconv.ParseUint(string(prefix[:]), 16, 16)
	switch {
	case err != nil, length > maxLine, length > 0 && length < 4:
		return nil, false, fmt.Errorf("%w: length %q", errBadLine, prefix)
	case length == 0:
		return nil, true, nil
	}
	line = make([]byte, length-4)
	if _, err := io.ReadFull(from, line); err != nil {
		return nil, false, noEOF(err)
	}
	return line, false, nil
}

// noEOF is an error of reading where something has to follow.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

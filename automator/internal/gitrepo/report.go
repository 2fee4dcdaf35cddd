package gitrepo

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxReport bounds what the remote says of a push, messages of hooks included.
const maxReport = 1 << 20

// report is what the remote says of a push.
type report struct {
	unpacked string            // "ok", or why not
	refs     map[string]string // "" for one that moved, or why not
	said     string            // by hooks
}

// The channels of side-band-64k.
const (
	bandData = iota + 1
	bandMessages
	bandFatal
)

// readBands reads a report that is sent together with messages. One that is whole counts though the answer does not end: what
// runs after a push may take its time.
func readBands(from io.Reader) (report, error) {
	data, messages := &bounded{limit: maxReport}, &bounded{limit: maxMessages, drop: true}
	err := readChannels(from, data, messages)
	told, reportErr := readReport(data, messages.String())
	if reportErr != nil && err != nil {
		return report{}, err
	}
	return told, reportErr
}

// readChannels takes side-band-64k apart, to its end.
func readChannels(from io.Reader, data, messages io.Writer) error {
	for {
		line, flush, err := readLine(from)
		switch {
		case flush:
			return nil
		case err != nil:
			return noEOF(err)
		case len(line) == 0:
			continue
		}
		switch line[0] {
		case bandData:
			_, err = data.Write(line[1:])
		case bandMessages:
			_, err = messages.Write(line[1:])
		case bandFatal:
			err = fmt.Errorf("%w: %s", errBrokenOff, line[1:])
		default:
			err = fmt.Errorf("%w: channel %d", errBadLine, line[0])
		}
		if err != nil {
			return err
		}
	}
}

// readReport reads a report to its end.
func readReport(from io.Reader, said string) (report, error) {
	r := report{refs: map[string]string{}, said: said}
	for {
		line, flush, err := readLine(from)
		switch {
		case flush && r.unpacked != "":
			return r, nil
		case err != nil && !errors.Is(err, io.EOF):
			return r, err
		case flush, err != nil:
			return r, errNoReport
		}
		word, rest, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		switch word {
		case "unpack":
			r.unpacked = rest
		case "ok":
			r.refs[rest] = ""
		case "ng":
			ref, reason, _ := strings.Cut(rest, " ")
			if reason == "" {
				reason = "no reason given"
			}
			r.refs[ref] = reason
		}
	}
}

// outcome is why a ref did not move; "" if it did. It is an error when the report does not say.
func (r report) outcome(ref string) (reason string, err error) {
	reason, told := r.refs[ref]
	unpacked := r.unpacked == "ok"
	switch {
	case reason != "" && !unpacked:
		return reason + ": " + r.unpacked, nil
	case told && !unpacked:
		return "", fmt.Errorf("%w: it has the ref but not the objects: %s", errNoReport, clip(printable(r.unpacked)))
	case !told && !unpacked:
		return "", fmt.Errorf("%w: it did not take the objects: %s", errNoReport, clip(printable(r.unpacked)))
	case !told:
		return "", errNoReport
	}
	return reason, nil
}

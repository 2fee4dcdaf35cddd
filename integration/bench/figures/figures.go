// Package figures prints what a benchmark measured, for people or for programs.
package figures

import (
	"flag"
	"fmt"
	"io"
)

// Report is what a benchmark measured.
type Report interface {
	// JSON is the report on one line.
	JSON() ([]byte, error)
}

// Format is how to print a report.
type Format string

// The formats.
const (
	Table Format = "table"
	JSON  Format = "json"
)

// Flag adds the flag -o.
func Flag(flags *flag.FlagSet) *Format {
	format := Table
	flags.Func("o", "how to print the figures: table, or json as one object on the last line (default table)", func(text string) error {
		if format = Format(text); format != Table && format != JSON {
			return fmt.Errorf("%q is not one of %s, %s", text, Table, JSON)
		}
		return nil
	})
	return &format
}

// Print prints a report.
func Print[R Report](out io.Writer, format Format, report R, table func(io.Writer, R) error) error {
	if format == Table {
		return table(out, report)
	}
	line, err := report.JSON()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", line)
	return err
}

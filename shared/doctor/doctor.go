// Package doctor is how an agent says what is well with it and what is not: findings, each with what to do next.
package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Level says how bad a finding is.
type Level string

// The levels, the worst last.
const (
	// OK is as it should be.
	OK Level = "ok"
	// Warning works, and will not for long, or could not be looked at.
	Warning Level = "warning"
	// Failure does not work.
	Failure Level = "failure"
)

// Finding is one thing that was looked at.
type Finding struct {
	Level Level `json:"level"`
	// Check is what was looked at, in a few words that stay the same.
	Check string `json:"check"`
	// What was found.
	What string `json:"what"`
	// Next is what to do about it; empty where nothing needs to be done.
	Next string `json:"next,omitempty"`
}

// Report collects findings. The zero value is empty.
type Report struct{ findings []Finding }

// Ok notes that something is as it should be.
func (r *Report) Ok(check, format string, args ...any) { r.add(OK, check, "", format, args) }

// Warn notes what will not work for long, or could not be looked at, and what to do.
func (r *Report) Warn(check, next, format string, args ...any) {
	r.add(Warning, check, next, format, args)
}

// Fail notes what does not work, and what to do.
func (r *Report) Fail(check, next, format string, args ...any) {
	r.add(Failure, check, next, format, args)
}

func (r *Report) add(level Level, check, next, format string, args []any) {
	text := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
	r.findings = append(r.findings, Finding{Level: level, Check: check, What: text, Next: next})
}

// Findings are all findings, in the order in which they were made.
func (r *Report) Findings() []Finding { return slices.Clone(r.findings) }

// Err returns an error that counts the failures; nil when there are none. Warnings are none.
func (r *Report) Err() error {
	failures := 0
	for _, f := range r.findings {
		if f.Level == Failure {
			failures++
		}
	}
	if failures == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d checks failed", failures, len(r.findings))
}

// WriteJSON prints the findings for programs.
func (r *Report) WriteJSON(out io.Writer) error {
	return json.NewEncoder(out).Encode(map[string][]Finding{"findings": r.findings})
}

// WriteText prints the findings for people.
func (r *Report) WriteText(out io.Writer) error {
	width := 0
	for _, f := range r.findings {
		width = max(width, len(f.Check))
	}
	for _, f := range r.findings {
		if _, err := fmt.Fprintf(out, "%-7s  %-*s  %s\n", f.Level, width, f.Check, f.What); err != nil {
			return err
		}
		if f.Next == "" {
			continue
		}
		if _, err := fmt.Fprintf(out, "%-7s  %-*s  → %s\n", "", width, "", f.Next); err != nil {
			return err
		}
	}
	return nil
}

// maxSkew is by how much clocks may differ. Passes, which live for 90 s, are the first to be refused.
const maxSkew = 30 * time.Second

// Clock compares a clock with ours: it said theirs at some time between before and after.
func (r *Report) Clock(whose string, theirs, before, after time.Time) {
	const check = "clock"
	ours := before.Add(after.Sub(before) / 2)
	off := theirs.Sub(ours).Round(time.Second)
	switch {
	case off.Abs() <= maxSkew+after.Sub(before)/2:
		r.Ok(check, "%s and this clock differ by less than %s", whose, maxSkew)
	default:
		r.Fail(check, "set the clocks by NTP: certificates and passes are judged by them", "%s is %s ahead of this clock", whose, off)
	}
}

// Expiry judges when a certificate ends that lives for so long: one in the last quarter of its life should have been
// renewed, by whatever does so.
func (r *Report) Expiry(use string, begins, ends time.Time, next string) {
	const check, lastPart = "certificate", 4
	left := time.Until(ends)
	switch {
	case left <= 0:
		r.Fail(check, next, "%s ended at %s", use, ends.UTC().Format(time.RFC3339))
	case left < ends.Sub(begins)/lastPart:
		r.Warn(check, next, "%s ends at %s", use, ends.UTC().Format(time.RFC3339))
	default:
		r.Ok(check, "%s is good until %s", use, ends.UTC().Format(time.RFC3339))
	}
}

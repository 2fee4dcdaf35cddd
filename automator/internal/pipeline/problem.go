package pipeline

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Problem is something in a file that is wrong, and what to do about it.
type Problem struct {
	File string
	// Line and Column count from 1; 0 if the whole file is meant.
	Line    int
	Column  int
	Message string
}

// String returns the problem as compilers write it: "file:line:column: message".
func (p Problem) String() string {
	switch {
	case p.Line == 0:
		return p.File + ": " + p.Message
	case p.Column == 0:
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Problems are all problems of some files, ordered by file and place.
type Problems []Problem

// Err returns the problems as an error, one on each line; nil if there are none.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	lines := make([]string, 0, len(p))
	for _, problem := range p {
		lines = append(lines, problem.String())
	}
	return errors.New(strings.Join(lines, "\n"))
}

func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return p
}

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// progressEvery is how often progress is printed where lines cannot be
	// replaced.
	progressEvery = 15 * time.Second
	// width is where the story's lines break.
	width = 100
)

// narrator tells the story. Its methods may be called from several goroutines.
type narrator struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	step     int
	last     time.Time // when progress was printed
	pending  bool      // the cursor stands behind progress
}

func newNarrator(out io.Writer) *narrator {
	file, ok := out.(*os.File)
	if !ok {
		return &narrator{out: out}
	}
	info, err := file.Stat()
	return &narrator{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// title begins a step.
func (n *narrator) title(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clear()
	n.step++
	fmt.Fprintf(n.out, "\n%d. %s\n", n.step, fmt.Sprintf(format, args...))
}

// say tells what happens.
func (n *narrator) say(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clear()
	for _, line := range wrap(fmt.Sprintf(format, args...), width-len("   ")) {
		fmt.Fprintln(n.out, "   "+line)
	}
}

// show quotes something as it is.
func (n *narrator) show(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clear()
	for line := range strings.Lines(text) {
		fmt.Fprintln(n.out, strings.TrimRight("     "+strings.TrimRight(line, "\n"), " "))
	}
}

// progress tells how far something is that takes its time.
func (n *narrator) progress(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.terminal {
		n.clear()
		fmt.Fprint(n.out, "   "+text)
		n.pending = true
		return
	}
	if time.Since(n.last) < progressEvery {
		return
	}
	n.last = time.Now()
	fmt.Fprintln(n.out, "   "+text)
}

// clear takes progress off the terminal. The caller holds mu.
func (n *narrator) clear() {
	if n.pending {
		fmt.Fprint(n.out, "\r\x1b[K")
		n.pending = false
	}
}

// wrap breaks a text at spaces.
func wrap(text string, most int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > most {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

package chaos

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// orphans are the processes that work in a folder and that neither this process nor a child of it looks after, such as a
// git whose automator was killed. It sees nothing where there is no /proc.
func orphans(dir string) []string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []string
	for _, entry := range entries {
		id, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		cwd, _ := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd")) // of a process that has ended there is none
		command, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		words := strings.ReplaceAll(strings.TrimRight(string(command), "\x00"), "\x00", " ")
		if words == "" || !strings.HasPrefix(cwd+"/", dir+"/") && !strings.Contains(words, dir+"/") || ours(id) {
			continue
		}
		found = append(found, fmt.Sprintf("%d %s", id, words))
	}
	return found
}

// ours tells whether this process is an ancestor of another, or whether that has ended.
func ours(id int) bool {
	for id > 1 {
		if id == os.Getpid() {
			return true
		}
		parent, ok := parentOf(id)
		if !ok {
			return true
		}
		id = parent
	}
	return false
}

func parentOf(id int) (int, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return 0, false
	}
	// The name stands in brackets and may contain anything; behind it are the state and the parent.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return 0, false
	}
	parent, err := strconv.Atoi(fields[1])
	return parent, err == nil
}

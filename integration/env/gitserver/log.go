package gitserver

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// logFields is how many fields Log's format has.
const logFields = 7

// parseLog reads records whose fields, like the records themselves, are ended
// by a zero byte, which no field can contain.
func parseLog(out string) ([]Commit, error) {
	fields := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	if len(fields)%logFields != 0 {
		return nil, fmt.Errorf("git log: %d fields, want a multiple of %d", len(fields), logFields)
	}
	var commits []Commit
	for record := range slices.Chunk(fields, logFields) {
		seconds, err := strconv.ParseInt(record[5], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("git log: %w", err)
		}
		commits = append(commits, Commit{
			ID: record[0], Tree: record[1], Parents: strings.Fields(record[2]),
			Author: record[3], Email: record[4], Time: time.Unix(seconds, 0).UTC(),
			Message: record[6],
		})
	}
	return commits, nil
}

package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/integration/env/process"
)

// epochVariable fixes the time of everything in an image, in seconds since 1970:
// https://reproducible-builds.org/specs/source-date-epoch.
const epochVariable = "SOURCE_DATE_EPOCH"

// Stamp is what images say about where they come from.
type Stamp struct {
	// Version is the nearest tag, or the commit.
	Version string
	// Revision is the commit, in full.
	Revision string
	// Created is the commit's time: the time of a build would make every build
	// another image.
	Created time.Time
}

func readStamp(ctx context.Context, source string) (Stamp, error) {
	version, versionErr := git(ctx, source, "describe", "--tags", "--always", "--dirty")
	revision, revisionErr := git(ctx, source, "rev-parse", "HEAD")
	seconds, timeErr := git(ctx, source, "log", "-1", "--format=%ct")
	if err := errors.Join(versionErr, revisionErr, timeErr); err != nil {
		return Stamp{}, err
	}
	if epoch := os.Getenv(epochVariable); epoch != "" {
		seconds = epoch
	}
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return Stamp{}, fmt.Errorf("%s: %w: want seconds since 1970", epochVariable, err)
	}
	return Stamp{Version: version, Revision: revision, Created: time.Unix(at, 0).UTC()}, nil
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := process.Command(ctx, "git", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: images are stamped with the commit, so build them in a clone", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

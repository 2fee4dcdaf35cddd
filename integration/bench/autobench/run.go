package autobench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// bench is one run.
type bench struct {
	opts   Options
	dir    string
	report Report
}

// Run measures the parts one after the other, each in a world of its own.
func Run(ctx context.Context, opts Options) (report Report, err error) {
	if err := opts.Validate(); err != nil {
		return report, err
	}
	b := &bench{opts: opts, dir: opts.Keep}
	if b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "autobench-"); err != nil {
			return report, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	}
	parts := map[string]func(context.Context, *world) error{
		PushPart: b.push, ScanPart: b.scan, TagsPart: b.tags, EditPart: b.edit, RacePart: b.race,
	}
	for _, name := range Parts() {
		if !slices.Contains(opts.Only, name) {
			continue
		}
		if err := b.part(ctx, name, parts[name]); err != nil {
			return b.report, fmt.Errorf("%s: %w", name, err)
		}
	}
	return b.report, nil
}

// part measures one part in a world of its own.
func (b *bench) part(ctx context.Context, name string, measure func(context.Context, *world) error) (err error) {
	w, err := newWorld(ctx, filepath.Join(b.dir, name), b.opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	return measure(ctx, w)
}

// say tells what goes on.
func (b *bench) say(format string, args ...any) { b.opts.Say(format, args...) }

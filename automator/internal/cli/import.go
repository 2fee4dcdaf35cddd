package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-cd/tandem/automator/internal/migrate"
	"github.com/tandem-cd/tandem/shared/imageref"
)

// maxImported bounds the files of a repository that is imported from.
const maxImported = 100_000

func (a *app) importer() *cobra.Command {
	options := importOptions{}
	sources := migrate.Sources()
	names := make([]string, 0, len(sources))
	for _, source := range sources {
		names = append(names, string(source))
	}
	cmd := &cobra.Command{
		Use:   "import SOURCE DIR",
		Short: "Write pipelines from what another image updater is told",
		Long: `import reads a checkout of a repository and writes .tandem/*.yaml into it, from what another updater
is told there: flux (ImageRepository, ImagePolicy and ImageUpdateAutomation of any version, and the
annotations of Flux v1), argocd-image-updater (annotations of Applications, and ImageUpdaters) or
keel (annotations and labels of workloads).

Files of the other system stay as they are. Whatever has no equivalent is listed with its file and
line, on standard error or in the JSON; read it before you switch the other system off.`,
		Example:   "  tandem import flux . --dry-run\n  tandem import argocd-image-updater ~/src/config",
		Args:      cobra.ExactArgs(2),
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			source := migrate.Source(args[0])
			if !slices.Contains(sources, source) {
				return fmt.Errorf("%q is not one of %s", args[0], strings.Join(names, ", "))
			}
			return a.runImport(source, args[1], options, cmd.ErrOrStderr())
		},
	}
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return names, cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	flags := cmd.Flags()
	flags.BoolVar(&options.dryRun, "dry-run", false, "print the files instead of writing them")
	flags.BoolVar(&options.force, "force", false, "overwrite files that are there")
	return cmd
}

type importOptions struct{ dryRun, force bool }

// imported is what is printed for programs.
type imported struct {
	Files         []importedFile `json:"files"`
	NotEquivalent []importedNote `json:"notEquivalent"`
	Written       bool           `json:"written"`
}

type importedFile struct {
	Path    string `json:"path"`
	Content string `json:"content"`
}

type importedNote struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	What string `json:"what"`
	Why  string `json:"why"`
}

func (a *app) runImport(source migrate.Source, dir string, options importOptions, notes io.Writer) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	files, err := readRepository(root)
	if err != nil {
		return err
	}
	result := migrate.From(source, files)
	if !options.dryRun {
		if err := writePipelines(root, result.Files, options.force); err != nil {
			return err
		}
	}
	if a.format != formatTable {
		return a.importedMachine(result, !options.dryRun)
	}
	for _, note := range result.Notes {
		fmt.Fprintln(notes, note)
	}
	for _, file := range slices.Sorted(maps.Keys(result.Files)) {
		if options.dryRun {
			fmt.Fprintf(a.out, "# %s\n%s\n", file, result.Files[file])
		} else {
			fmt.Fprintf(a.out, "wrote %s\n", file)
		}
	}
	if len(result.Files) == 0 {
		return fmt.Errorf("nothing of %s was found in %s that becomes a pipeline", source, dir)
	}
	return nil
}

func (a *app) importedMachine(result migrate.Result, written bool) error {
	out := imported{Files: []importedFile{}, NotEquivalent: []importedNote{}, Written: written}
	for _, file := range slices.Sorted(maps.Keys(result.Files)) {
		out.Files = append(out.Files, importedFile{file, string(result.Files[file])})
	}
	for _, n := range result.Notes {
		out.NotEquivalent = append(out.NotEquivalent, importedNote{n.File, n.Line, n.What, n.Why})
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return a.raw(raw)
}

// readRepository reads all manifests below a folder, and other text that has a
// marker. Symbolic links are not followed.
func readRepository(root *os.Root) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return fs.SkipDir
		case !entry.Type().IsRegular(), !imageref.Reads(name, nil):
			return nil
		case len(files) == maxImported:
			return fmt.Errorf("more than %d files; name a folder that has less", maxImported)
		}
		info, err := entry.Info()
		if err != nil || info.Size() > imageref.MaxFileSize {
			return err
		}
		files[name], err = root.ReadFile(filepath.FromSlash(name))
		return err
	})
	return files, err
}

// writePipelines writes files. Unless forced, nothing is written if one of them is there.
func writePipelines(root *os.Root, files map[string][]byte, force bool) error {
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if _, err := root.Lstat(filepath.FromSlash(name)); err == nil && !force {
			return fmt.Errorf("%s is there already, and nothing was written; remove it, or overwrite it with --force", name)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, name := range names {
		if err := root.MkdirAll(filepath.FromSlash(path.Dir(name)), 0o755); err != nil {
			return err
		}
		if err := root.WriteFile(filepath.FromSlash(name), files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/printable"
)

// differs is what tandem diff ends with when something differs. It is no failure, and nothing is printed of it.
type differs struct{}

// Error is for those who print it all the same.
func (differs) Error() string { return "objects differ" }

// diffName is the name of the command.
const diffName = "diff"

func (a *app) diff() *cobra.Command {
	var commit string
	cmd := a.asks(&cobra.Command{
		Use:   diffName + " CLUSTER NAMESPACE/NAME",
		Short: "Show what a commit would change in a cluster, or what has drifted",
		Long: `Show what a commit would change in a cluster, or what has drifted.

The cluster itself is asked: it renders the commit and tries the apply of each object that would change as a dry run, by
the Sync's account, so that RBAC and admission have their say. Nothing is written. Values of Secrets are masked. Without
--commit the commit that is applied is compared: what differs then was changed by somebody else.

The commit has to be reachable from a ref that the cluster is granted. It need not be signed; the answer says whether
verification would accept it, and if not, why.

The cluster's administrator has to allow it: "diff" under "queries" in the synchronizer's configuration. Within the
cluster you need the permission to get syncs/diff.

The exit code is 0 when nothing differs, 1 when something does, and 2 when that could not be found out, as when a file
cannot be read.`,
		Example: "  tandem diff prod-eu shop/web --commit 3f9ac1d20b\n  tandem diff prod-eu shop/web || echo drifted\n  tandem diff prod-eu shop/web --commit 3f9ac1d20b -o json | jq '.entries[].object'",
	}, func(req *statusv1.AskRequest) {
		req.Question = &statusv1.AskRequest_Diff{Diff: &statusv1.DiffQuestion{Commit: commit}}
	}, a.printDiff)
	cmd.Flags().StringVar(&commit, "commit", "", "commit to compare with the cluster (default: the one that is applied)")
	return cmd
}

func (a *app) printDiff(whole *reply) error {
	var err error
	if a.format == formatTable {
		err = a.printDiffText(whole)
	} else {
		single := map[string]proto.Message{}
		if whole.summary != nil {
			single["summary"] = whole.summary
		}
		err = a.rawDocument(map[string][]proto.Message{"entries": asMessages(whole.diffs), "omissions": asMessages(whole.omissions)}, single)
	}
	switch {
	case err != nil:
		return err
	case len(whole.diffs) > 0:
		return differs{}
	case !whole.compared():
		return errors.New("not everything could be compared, so nobody knows whether something differs; the answer says what")
	}
	return nil
}

// compared reports whether everything was compared.
func (w *reply) compared() bool {
	return w.summary != nil && len(w.summary.GetProblems()) == 0 && w.summary.GetProblemsOmitted() == 0 && len(w.omissions) == 0
}

func (a *app) printDiffText(whole *reply) error {
	var text strings.Builder
	paint := painter(a.out)
	for _, entry := range whole.diffs {
		writeEntry(&text, paint, entry)
	}
	if whole.summary != nil { // else the answer was cut short, which an omission says
		writeSummary(&text, whole.summary)
	}
	if _, err := io.WriteString(a.out, text.String()); err != nil {
		return err
	}
	return a.printOmissions(whole)
}

func writeEntry(text *strings.Builder, paint func(line string) string, entry *statusv1.DiffEntry) {
	where := ""
	if entry.GetFile() != "" {
		where = fmt.Sprintf(" (%s:%d)", printable.Line(entry.GetFile()), entry.GetLine())
	}
	held := ""
	if entry.GetHeld() {
		held = ", waits for consent"
	}
	fmt.Fprintf(text, "%s %s%s%s", printable.Line(entry.GetAction()), printable.Line(entry.GetObject()), where, held)
	if entry.GetReason() != "" {
		fmt.Fprintf(text, ": %s", printable.Line(entry.GetReason()))
	}
	text.WriteByte('\n')
	for _, warning := range entry.GetWarnings() {
		fmt.Fprintf(text, "  warning: %s\n", printable.Line(warning))
	}
	for line := range strings.Lines(entry.GetDiff()) {
		text.WriteString(paint(printable.Line(strings.TrimSuffix(line, "\n"))) + "\n")
	}
	text.WriteByte('\n')
}

func writeSummary(text *strings.Builder, s *statusv1.DiffSummary) {
	for _, p := range s.GetProblems() {
		fmt.Fprintf(text, "not compared: %s: %s\n", printable.Line(whereText(p)), printable.Line(p.GetMessage()))
	}
	if s.GetProblemsOmitted() > 0 {
		fmt.Fprintf(text, "not compared: %d more files\n", s.GetProblemsOmitted())
	}
	fmt.Fprintf(text, "commit %s: %d objects differ, %d do not", short(s.GetCommit()), s.GetDifferent(), s.GetEqual())
	if refusal := s.GetRefusal(); refusal != nil {
		fmt.Fprintf(text, "\nverification would refuse it: %s", printable.Line(refusal.GetMessage()))
	}
	text.WriteByte('\n')
}

// painter returns what colours the lines of a diff, on a terminal whose user did not ask for none.
func painter(out io.Writer) func(line string) string {
	if !isTerminal(out) || os.Getenv("NO_COLOR") != "" {
		return func(line string) string { return line }
	}
	return paint
}

func paint(line string) string {
	const plain = "\x1b[0m"
	switch {
	case strings.HasPrefix(line, "+"):
		return "\x1b[32m" + line + plain
	case strings.HasPrefix(line, "-"):
		return "\x1b[31m" + line + plain
	case strings.HasPrefix(line, "@@"):
		return "\x1b[36m" + line + plain
	}
	return line
}

// isTerminal reports whether somebody looks at what is written.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

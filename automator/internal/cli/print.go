package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"sigs.k8s.io/yaml"

	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/printable"
	"github.com/tandem-cd/tandem/shared/revision"
)

// The formats of --output.
const (
	formatTable = "table"
	formatText  = "text" // the same, for those who expect no table
	formatJSON  = "json"
	formatYAML  = "yaml"
)

// marshal turns a message into the JSON that people and scripts read: ids as hexadecimal text would be lost in base64,
// so readable() has replaced them.
func marshal(message proto.Message) ([]byte, error) {
	raw, err := protojson.MarshalOptions{EmitDefaultValues: false}.Marshal(message)
	if err != nil {
		return nil, err
	}
	return hexIDs(raw)
}

// machine prints a message as JSON on one line, or as YAML.
func (a *app) machine(message proto.Message) error {
	raw, err := marshal(message)
	if err != nil {
		return err
	}
	return a.raw(raw)
}

func (a *app) raw(raw []byte) error {
	if a.format == formatYAML {
		text, err := yaml.JSONToYAML(raw)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "%s---\n", text)
		return err
	}
	_, err := fmt.Fprintf(a.out, "%s\n", raw)
	return err
}

// table prints rows under a title, or nothing when there are none.
func table(out io.Writer, header string, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(header, " ", "\t"))
	for _, row := range rows {
		cells := make([]string, 0, len(row))
		for _, cell := range row {
			cells = append(cells, printable.Line(cell)) // it may be what a cluster said
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// age says how long ago something was, as people say it.
func age(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return span(time.Since(t.AsTime()))
}

func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// word turns an enum value such as SYNC_STATE_IN_PROGRESS into InProgress.
func word(value fmt.Stringer, prefix string) string {
	var out strings.Builder
	for part := range strings.SplitSeq(strings.TrimPrefix(value.String(), prefix), "_") {
		if part != "" {
			out.WriteString(part[:1] + strings.ToLower(part[1:]))
		}
	}
	return out.String()
}

func commitOf(r *revisionv1.Revision) string { return short(r.GetCommit()) }

func short(id *revisionv1.ObjectId) string {
	parsed, err := revision.ObjectFromProto(id)
	if err != nil || parsed.IsZero() {
		return "-"
	}
	return parsed.String()[:12]
}

// imageText is an image as people write it, with a short digest.
func imageText(i *revisionv1.Image) string {
	text := i.GetRepository()
	if i.GetTag() != "" {
		text += ":" + i.GetTag()
	}
	if digest := strings.TrimPrefix(i.GetDigest(), "sha256:"); digest != "" {
		text += "@" + digest[:min(12, len(digest))]
	}
	return text
}

// where says what a problem is about.
func whereText(p *statusv1.Problem) string {
	var parts []string
	if p.GetFile() != "" {
		file := p.GetFile()
		if p.GetLine() > 0 {
			file = fmt.Sprintf("%s:%d", file, p.GetLine())
		}
		parts = append(parts, file)
	}
	if p.GetObject() != "" {
		parts = append(parts, p.GetObject())
	}
	if p.GetCommit() != nil {
		parts = append(parts, "commit "+short(p.GetCommit()))
	}
	if p.GetGitObject() != nil {
		parts = append(parts, "object "+short(p.GetGitObject()))
	}
	return orElse(strings.Join(parts, ", "), "-")
}

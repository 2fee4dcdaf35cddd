package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/automator/internal/policy"
)

// Limits on the tags that a policy is tried on.
const (
	maxTestTags = 200_000
	maxTestLine = 4096
)

func (a *app) policy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Try tag policies",
	}
	cmd.AddCommand(a.policyTest())
	return cmd
}

// policyTrial is what `tandem policy test` is asked.
type policyTrial struct {
	config        policy.Config
	file, image   string
	current       string
	flagsOfPolicy []string
	policy        policy.Policy
}

func (a *app) policyTest() *cobra.Command {
	trial := &policyTrial{}
	cmd := &cobra.Command{
		Use:   "test [--file FILE --image NAME | policy flags] < TAGS",
		Short: "Say which tag a policy takes, and which rule keeps or drops each of the others",
		Long: `Say which tag a policy takes, and which rule keeps or drops each of the others.

The tags come from standard input, one on each line: "TAG", or "TAG<tab>CREATED<tab>DIGEST" where the
policy needs to know when an image was made (RFC 3339; the last two may be empty). Nothing is asked
over the network. The policy comes from a pipeline file, or from flags that are named like its keys.`,
		Example: `  crane ls ghcr.io/acme/api | tandem policy test --semver '^1' --current 1.4.2
  tandem policy test --file .tandem/shop.yaml --image api < tags.txt
  printf 'main-9-ab\nmain-10-cd\n' | tandem policy test --numeric asc --match '^main-(\d+)-' -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := trial.load(cmd); err != nil {
				return err
			}
			tags, err := readTags(cmd.InOrStdin())
			if err != nil {
				return err
			}
			in := policy.Input{Tags: tags, Now: time.Now()}
			in.Current.Name, in.Current.Digest, _ = strings.Cut(trial.current, "@")
			for _, tag := range tags {
				if tag.Name == in.Current.Name {
					in.Current.Created, in.Current.Pushed = tag.Created, tag.Pushed
				}
			}
			selection, verdicts := policy.All(trial.policy, in)
			return a.printTrial(trial.policy, selection, verdicts)
		},
	}
	trial.register(cmd)
	return cmd
}

func (t *policyTrial) register(cmd *cobra.Command) {
	flags, c := cmd.Flags(), &t.config
	flags.StringVar(&t.file, "file", "", "a pipeline file to take the policy from")
	flags.StringVar(&t.image, "image", "", "the image of --file, if it has several")
	flags.StringVar(&t.current, "current", "", "the tag that is there: TAG or TAG@DIGEST")
	text := func(target *string, name, usage string) {
		flags.StringVar(target, name, "", usage)
		t.flagsOfPolicy = append(t.flagsOfPolicy, name)
	}
	text(&c.Semver, "semver", "a range of versions, such as '^1.2' or '>=1.0.0 <2.0.0'")
	text(&c.Newest, "newest", "by time: created or pushed")
	text(&c.Numeric, "numeric", "by number: asc takes the highest, desc the lowest")
	text(&c.Lexical, "lexical", "by bytes: asc takes the last, desc the first")
	text(&c.Calver, "calver", "by calendar version, such as YYYY.0M.0D or YY.MM.MICRO")
	text(&c.Follow, "follow", "a tag that moves")
	text(&c.Pin, "pin", "the one tag: TAG or TAG@DIGEST")
	text(&c.Match, "match", "an expression that a tag must match")
	text(&c.Extract, "extract", "what of the match is ordered, such as '$1'")
	text(&c.Precision, "precision", "keep (1.27 never becomes 1.27.3) or any")
	text(&c.Platform, "platform", "what an image must be there for, such as linux/arm64")
	text(&c.MinAge, "min-age", "how long ago a tag must have been pushed, such as 36h or 3d")
	text(&c.Hold, "hold", "a reason to change nothing")
	flags.BoolVar(&c.PreReleases, "pre-releases", false, "take pre-releases")
	flags.BoolVar(&c.Downgrade, "downgrade", false, "go back if what is first in the order is lower")
	flags.StringArrayVar(&c.Allow, "allow", nil, "an expression of which a tag must match one; may be repeated")
	flags.StringArrayVar(&c.Deny, "deny", nil, "an expression of which a tag must match none; may be repeated")
	t.flagsOfPolicy = append(t.flagsOfPolicy, "pre-releases", "downgrade", "allow", "deny")
	for name, words := range map[string][]string{
		"newest": {"created", "pushed"}, "numeric": {"asc", "desc"}, "lexical": {"asc", "desc"}, "precision": {"keep", "any"},
	} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
}

// load makes the policy from the file or from the flags.
func (t *policyTrial) load(cmd *cobra.Command) error {
	if t.file == "" {
		if t.image != "" {
			return errors.New("--image names an image of --file; add --file")
		}
		var err error
		if t.policy, err = policy.New(t.config); err != nil {
			return fmt.Errorf("the flags make no policy:\n%w", err)
		}
		return nil
	}
	for _, name := range t.flagsOfPolicy {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s and --file both say what the policy is; leave one of them out", name)
		}
	}
	return t.fromFile()
}

func (t *policyTrial) fromFile() error {
	data, err := os.ReadFile(t.file)
	if err != nil {
		return err
	}
	p, problems := pipeline.Parse(t.file, data)
	if p == nil {
		return problems.Err()
	}
	var names []string
	for _, image := range p.Images {
		if image.Name == t.image || t.image == "" && len(p.Images) == 1 {
			t.policy = image.Policy
			return nil
		}
		names = append(names, image.Name)
	}
	if t.image == "" {
		return fmt.Errorf("%s has several images; say which with --image: %s", t.file, strings.Join(names, ", "))
	}
	return fmt.Errorf("%s has no image %q; its images are %s", t.file, t.image, strings.Join(names, ", "))
}

// readTags reads tags from lines "TAG", or "TAG<tab>CREATED<tab>DIGEST".
func readTags(in io.Reader) ([]policy.Tag, error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxTestLine)
	var tags []policy.Tag
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if strings.TrimSpace(line) == "" {
			continue
		}
		if len(tags) == maxTestTags {
			return nil, fmt.Errorf("line %d: more than %d tags", number, maxTestTags)
		}
		name, rest, _ := strings.Cut(line, "\t")
		created, digest, _ := strings.Cut(rest, "\t")
		tag := policy.Tag{Name: name, Digest: digest, Inspected: true}
		if created != "" {
			at, err := time.Parse(time.RFC3339, created)
			if err != nil {
				return nil, fmt.Errorf("line %d: %.60q is not a time such as 2026-11-25T20:00:00Z; lines are TAG<tab>CREATED<tab>DIGEST", number, created)
			}
			tag.Created, tag.Pushed = at, at
		}
		tags = append(tags, tag)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read tags: %w", err)
	}
	return tags, nil
}

// trialResult is what is printed for machines.
type trialResult struct {
	Policy  string         `json:"policy"`
	Tag     string         `json:"tag,omitempty"`
	Digest  string         `json:"digest,omitempty"`
	Changed bool           `json:"changed"`
	Reason  string         `json:"reason"`
	Counts  map[string]int `json:"counts"`
	Tags    []trialTag     `json:"tags"`
}

type trialTag struct {
	Tag    string `json:"tag"`
	Kept   bool   `json:"kept"`
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
}

func (a *app) printTrial(p policy.Policy, s policy.Selection, verdicts []policy.Verdict) error {
	if a.format != formatTable {
		result := trialResult{
			Policy: p.String(), Tag: s.Tag, Digest: s.Digest, Changed: s.Changed, Reason: s.Reason,
			Counts: map[string]int{}, Tags: make([]trialTag, 0, len(verdicts)),
		}
		for _, count := range s.Counts {
			result.Counts[string(count.Rule)] = count.Tags
		}
		for _, v := range verdicts {
			result.Tags = append(result.Tags, trialTag{Tag: v.Tag, Kept: v.Kept, Rule: string(v.Rule), Reason: v.Reason})
		}
		raw, err := json.Marshal(result)
		if err != nil {
			return err
		}
		return a.raw(raw)
	}
	fmt.Fprintf(a.out, "policy  %s\ntakes   %s\nwhy     %s\n\n", p, orElse(s.Tag, "nothing"), s.Reason)
	rows := make([][]string, 0, len(verdicts))
	for _, v := range verdicts {
		rows = append(rows, []string{v.Tag, keptText(v.Kept), string(v.Rule), v.Reason})
	}
	return table(a.out, "TAG VERDICT RULE WHY", rows)
}

func keptText(kept bool) string {
	if kept {
		return "kept"
	}
	return "dropped"
}

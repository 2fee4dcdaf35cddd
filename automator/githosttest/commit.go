package githosttest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

// mutation is a request of createCommitOnBranch.
type mutation struct {
	Query     string
	Variables struct {
		Input struct {
			Branch struct {
				Repository string `json:"repositoryNameWithOwner"`
				Name       string `json:"branchName"`
			}
			Expected string `json:"expectedHeadOid"`
			Message  struct{ Headline, Body string }
			Changes  struct {
				Additions []struct{ Path, Contents string }
				Deletions []struct{ Path string }
			} `json:"fileChanges"`
		}
	}
}

// graphQLError is an error as GraphQL has it.
type graphQLError struct{ kind, message string }

func (e *graphQLError) Error() string { return e.message }

func (f *FakeGitHub) graphQL(w http.ResponseWriter, r *http.Request) {
	if !f.counts(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) {
		refuse(w, http.StatusUnauthorized, "Bad credentials")
		return
	}
	f.change(func() { f.commits++ })
	var m mutation
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil || !strings.Contains(m.Query, "createCommitOnBranch(input: $input)") {
		refuse(w, http.StatusBadRequest, "Problems parsing JSON")
		return
	}
	id, err := f.create(r.Context(), m)
	var said *graphQLError
	switch {
	case errors.As(err, &said):
		fmt.Fprintf(w, `{"data": {"createCommitOnBranch": null}, "errors": [{"type": %q, "path": ["createCommitOnBranch"], "message": %q}]}`, said.kind, said.message)
	case err != nil:
		refuse(w, http.StatusInternalServerError, "fake GitHub: "+err.Error())
	default:
		fmt.Fprintf(w, `{"data": {"createCommitOnBranch": {"commit": {"oid": %q}}}}`, id)
	}
}

// create makes the commit and moves the branch.
func (f *FakeGitHub) create(ctx context.Context, m mutation) (string, error) {
	in := m.Variables.Input
	ref := revision.BranchRef(in.Branch.Name)
	if in.Branch.Repository != Repository {
		return "", &graphQLError{"NOT_FOUND", "Could not resolve to a Repository with the name '" + in.Branch.Repository + "'."}
	}
	tip, err := f.run(ctx, nil, nil, "rev-parse", "--verify", "--quiet", ref)
	if err != nil {
		return "", &graphQLError{"NOT_FOUND", "No such branch."}
	}
	stale := &graphQLError{"STALE_DATA", fmt.Sprintf("Expected branch to point to %q but it did not.  Pull and try again.", in.Expected)}
	if tip != in.Expected {
		return "", stale
	}
	tree, err := f.tree(ctx, m)
	if err != nil {
		return "", err
	}
	id, err := f.store(ctx, m, tip, tree)
	if err != nil {
		return "", err
	}
	if _, err := f.run(ctx, nil, nil, "update-ref", ref, id, tip); err != nil {
		return "", stale
	}
	return id, nil
}

// tree writes the tree of the branch with the changes.
func (f *FakeGitHub) tree(ctx context.Context, m mutation) (string, error) {
	in := m.Variables.Input
	scratch, err := os.MkdirTemp("", "fakegithub-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	index := []string{"GIT_INDEX_FILE=" + filepath.Join(scratch, "index")}
	if _, err := f.run(ctx, index, nil, "read-tree", in.Expected); err != nil {
		return "", err
	}
	for _, a := range in.Changes.Additions {
		content, err := base64.StdEncoding.DecodeString(a.Contents)
		if err != nil {
			return "", &graphQLError{"ARGUMENT_ERROR", "Variable $input was provided invalid value for fileChanges: " + err.Error()}
		}
		blob, err := f.run(ctx, nil, strings.NewReader(string(content)), "hash-object", "-w", "--stdin")
		if err != nil {
			return "", err
		}
		if _, err := f.run(ctx, index, nil, "update-index", "--add", "--cacheinfo", "100644,"+blob+","+a.Path); err != nil {
			return "", err
		}
	}
	for _, d := range in.Changes.Deletions {
		if _, err := f.run(ctx, nil, nil, "cat-file", "-e", in.Expected+":"+d.Path); err != nil {
			return "", &graphQLError{"UNPROCESSABLE", "A path was requested for deletion which does not exist as of commit oid `" + in.Expected + "`"}
		}
		gone := "0 " + strings.Repeat("0", len(in.Expected)) + "\t" + d.Path + "\n"
		if _, err := f.run(ctx, index, strings.NewReader(gone), "update-index", "--index-info"); err != nil {
			return "", err
		}
	}
	return f.run(ctx, index, nil, "write-tree")
}

// store writes the commit, by the App's bot.
func (f *FakeGitHub) store(ctx context.Context, m mutation, parent, tree string) (string, error) {
	now := time.Now().UTC().Truncate(time.Second)
	commit := &gitobject.Commit{
		Author:    gitobject.Person{Name: "tandem[bot]", Email: "1234+tandem[bot]@users.noreply.github.com", When: now},
		Committer: gitobject.Person{Name: "GitHub", Email: "noreply@github.com", When: now},
		Message:   m.Variables.Input.Message.Headline + "\n\n" + m.Variables.Input.Message.Body,
	}
	var err error
	if commit.Tree, err = gitobject.ParseID(tree); err != nil {
		return "", err
	}
	id, err := gitobject.ParseID(parent)
	if err != nil {
		return "", err
	}
	commit.Parents = []gitobject.ID{id}
	if f.Mangle != nil {
		f.Mangle(commit)
	}
	if f.Signer != nil {
		if commit.Signature, err = f.Signer.Sign(commit.SignedPayload(), now); err != nil {
			return "", err
		}
	}
	return f.run(ctx, nil, strings.NewReader(string(commit.Encode())), "hash-object", "-t", "commit", "-w", "--stdin")
}

// run runs git in the repository and returns its answer without the end of the line.
func (f *FakeGitHub) run(ctx context.Context, env []string, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Stdin = f.Dir, stdin
	cmd.Env = append(append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"), env...)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

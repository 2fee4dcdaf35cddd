package api_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/tandem-cd/tandem/automator/internal/api"
	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/automator/internal/update"
	pipelinev1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/pipeline/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

// nobody has seen no repository.
type nobody struct{}

func (nobody) Updates() []update.Status { return nil }

// standings are credentials.
type standings []shortlived.Standing

func (s standings) Problems() []shortlived.Standing { return s }

// stores say why nothing is stored.
type stores []string

func (s stores) Problems() []string { return s }

func TestProblemsOfCredentials(t *testing.T) {
	t.Parallel()
	sealed := errors.New("Vault is sealed")
	pipelines := api.New(nobody{}, nil, nil, standings{{Problem: sealed}, {Problem: sealed, Counts: true}}, stores{"the disk is full"})
	got, err := pipelines.ListPipelines(t.Context(), &pipelinev1.ListPipelinesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := []*statusv1.Problem{
		{Kind: statusv1.ProblemKind_PROBLEM_KIND_STORE, Message: "the disk is full"},
		{Kind: statusv1.ProblemKind_PROBLEM_KIND_CREDENTIALS, Message: "Vault is sealed"},
		{Kind: statusv1.ProblemKind_PROBLEM_KIND_CREDENTIALS, Message: "Vault is sealed; what was had before is used on", Warning: true},
	}
	if diff := cmp.Diff(want, got.GetProblems(), protocmp.Transform()); diff != "" {
		t.Errorf("problems: -want, +got:\n%s", diff)
	}
}

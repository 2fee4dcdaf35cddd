package charts

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// helmOnly are lines that mean something to Helm alone.
var helmOnly = regexp.MustCompile(`(?m)^(# Source: .*|\s+(helm\.sh/chart|app\.kubernetes\.io/(version|managed-by|instance)): .*)\n`)

// blank are the empty lines that Helm puts between documents.
var blank = regexp.MustCompile(`\n{2,}`)

// TestRBAC holds deploy/rbac, for those who install without Helm, to what the chart renders.
func TestRBAC(t *testing.T) {
	const placeholder = "the-namespace"
	templates := map[string]struct {
		head, values string
		show         []string
	}{
		"synchronizer.yaml": {
			head: "# Made from deploy/charts/synchronizer by make update: change it there.\n" +
				"#\n# The synchronizer's own account and what it may do. Apply it once per cluster, then namespace.yaml in each namespace\n" +
				"# that Syncs are in.\n" +
				"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: tandem-system\n",
			show: []string{"serviceaccount", "rbac-cluster"},
		},
		"namespace.yaml": {
			head: "# Made from deploy/charts/synchronizer by make update: change it there.\n" +
				"#\n# What a namespace needs for its Syncs. Apply it for each of them:\n#\n" +
				"#   sed s/NAMESPACE/shop/ namespace.yaml | kubectl apply -f -\n",
			show: []string{"accounts", "rbac-namespaces"},
		},
	}
	for file, tc := range templates {
		t.Run(file, func(t *testing.T) {
			args := []string{"--set", "status.enabled=true,status.tlsSecret=status", "--set", "namespaces={" + placeholder + "}"}
			for _, template := range tc.show {
				args = append(args, "--show-only", "templates/"+template+".yaml")
			}
			rendered, err := render(t, synchronizerChart, "testdata/synchronizer/tls.values.yaml", args...)
			if err != nil {
				t.Fatal(err)
			}
			rendered = strings.ReplaceAll(helmOnly.ReplaceAllString(rendered, ""), placeholder, "NAMESPACE")
			rendered = strings.TrimRight(blank.ReplaceAllString(rendered, "\n"), "\n") + "\n"
			compare(t, filepath.Join(source, "deploy", "rbac", file), tc.head+rendered)
		})
	}
}

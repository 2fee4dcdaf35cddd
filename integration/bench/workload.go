package bench

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// perFile is how many objects stand in one file.
	perFile = 10
	// filesPerFolder is how many files stand in one folder.
	filesPerFolder = 50
	// payload is the size of a ConfigMap's value in bytes.
	payload = 1 << 10
)

// Workload returns manifests by file name: 70 % ConfigMap of 1 KiB, 20 % Deployment without replicas, 10 % headless Service (the control plane
// has few cluster addresses). mark
// makes names unique.
func Workload(mark string, objects int) map[string]string {
	files := map[string]string{}
	for i := range objects {
		n := i / perFile
		name := fmt.Sprintf("part-%02d/objects-%04d.yaml", n/filesPerFolder, n)
		files[name] += "---\n" + Object(mark, i, "")
	}
	return files
}

// workloadKinds are the kinds of a workload.
func workloadKinds() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{
		{Version: "v1", Resource: "configmaps"}, {Group: "apps", Version: "v1", Resource: "deployments"}, {Version: "v1", Resource: "services"},
	}
}

// Object is the i-th object of a workload. note goes into a ConfigMap, to make it differ.
func Object(mark string, i int, note string) string {
	name := fmt.Sprintf("load-%s-%04d", mark, i)
	switch i % 10 {
	case 7, 8:
		return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: 0
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers: [{name: main, image: "registry.example.com/load:1.0.0", ports: [{containerPort: 8080}]}]
`, name)
	case 9:
		return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec:
  clusterIP: None
  selector: {app: %[1]s}
  ports: [{name: http, port: 80, targetPort: 8080, protocol: TCP}]
`, name)
	default:
		return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {note: %q, value: %q}\n", name, note, strings.Repeat("x", payload))
	}
}

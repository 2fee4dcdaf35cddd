package imageref

import (
	"fmt"
	"strings"
	"testing"
)

// manifest is a file of many Deployments, about 400 bytes each.
func manifest(deployments int) []byte {
	var b strings.Builder
	for i := range deployments {
		fmt.Fprintf(&b, `---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-%d
  labels: {app: web, tier: front}
spec:
  replicas: 3
  selector:
    matchLabels: {app: web-%d}
  template:
    metadata:
      labels: {app: web-%d}
    spec:
      containers:
      - name: web # the one that matters
        image: ghcr.io/acme/web:1.4.%d
        ports: [{containerPort: 8080}]
        resources: {requests: {cpu: 100m, memory: 64Mi}}
`, i, i, i, i)
	}
	return []byte(b.String())
}

func BenchmarkReplace(b *testing.B) {
	for _, deployments := range []int{1, 100} {
		b.Run(fmt.Sprint(deployments), func(b *testing.B) {
			file := manifest(deployments)
			positions, err := Find("a.yaml", file)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(file)))
			for b.Loop() {
				if _, err := Replace("a.yaml", file, []Splice{{positions[0], "ghcr.io/acme/web:1.5.0@" + sha}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOnlyImagesChanged(b *testing.B) {
	for _, deployments := range []int{1, 100} {
		b.Run(fmt.Sprint(deployments), func(b *testing.B) {
			before := manifest(deployments)
			after := []byte(strings.ReplaceAll(string(before), "web:1.4.", "web:1.5."))
			b.SetBytes(int64(len(before)))
			for b.Loop() {
				if changed, err := OnlyImagesChanged("a.yaml", before, after, nil); err != nil || len(changed) != deployments {
					b.Fatal(changed, err)
				}
			}
		})
	}
}

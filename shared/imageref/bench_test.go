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

// valuesFile is a file of Helm values, about 230 bytes for each chart.
func valuesFile(charts int) []byte {
	var b strings.Builder
	for i := range charts {
		fmt.Fprintf(&b, `chart%d:
  # what runs
  image:
    repository: ghcr.io/acme/web-%d
    tag: "1.4.%d"
    pullPolicy: IfNotPresent
  resources: {requests: {cpu: 100m, memory: 64Mi}}
  service: {type: ClusterIP, port: 8080}
  annotations: {a: b, c: "d e f"}
`, i, i, i)
	}
	return []byte(b.String())
}

// BenchmarkFind finds all positions, beside a plain decode of the same bytes by the
// same parser, in one file of a megabyte and in 10,000 small ones.
func BenchmarkFind(b *testing.B) {
	many := make([][]byte, 10_000)
	for i := range many {
		many[i] = manifest(1)
	}
	files := map[string][][]byte{"manifests-1MB": {manifest(2_600)}, "values-1MB": {valuesFile(4_400)}, "files-10000": many}
	for _, name := range []string{"manifests-1MB", "values-1MB", "files-10000"} {
		size := int64(0)
		for _, file := range files[name] {
			size += int64(len(file))
		}
		b.Run(name+"/find", func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				for _, file := range files[name] {
					if positions, err := Find("values.yaml", file); err != nil || len(positions) == 0 {
						b.Fatal(len(positions), err)
					}
				}
			}
		})
		b.Run(name+"/decode", func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				for _, file := range files[name] {
					if _, err := parseDocuments(file); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

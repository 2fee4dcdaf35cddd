package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"

	"sigs.k8s.io/yaml"

	"github.com/tandem-cd/tandem/integration/images"
)

// The formats of -o.
const (
	formatTable = "table"
	formatJSON  = "json"
	formatYAML  = "yaml"
)

func formats() []string { return []string{formatTable, formatJSON, formatYAML} }

// result is what is printed about an image.
type result struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Created  string `json:"created"`
	// Digest is of the index of all platforms.
	Digest string `json:"digest"`
	// Place is the folder of the layout, or the reference that was pushed.
	Place     string     `json:"place"`
	Platforms []platform `json:"platforms"`
}

type platform struct {
	Platform string `json:"platform"`
	Digest   string `json:"digest"`
	// Bytes is what a node downloads: all layers, compressed.
	Bytes int64 `json:"bytes"`
	// SBOM is the digest of the bill of materials that refers to the image.
	SBOM string `json:"sbom"`
}

// deliver writes or pushes an image, and describes it.
func deliver(ctx context.Context, built *images.Built, o options) (result, error) {
	r := result{
		Name: built.Spec.Name, Version: built.Stamp.Version, Revision: built.Stamp.Revision,
		Created: built.Stamp.Created.Format("2006-01-02T15:04:05Z07:00"), Digest: built.Digest.String(),
	}
	for _, one := range built.Platforms {
		described, err := describe(one)
		if err != nil {
			return r, err
		}
		r.Platforms = append(r.Platforms, described)
	}
	var err error
	if o.push != "" {
		r.Place, err = built.Push(ctx, o.push)
		return r, err
	}
	r.Place = filepath.Join(o.out, built.Spec.Name)
	return r, built.WriteLayout(r.Place)
}

func describe(one images.Platform) (platform, error) {
	p := platform{Platform: one.Platform.String()}
	digest, err := one.Image.Digest()
	if err != nil {
		return p, err
	}
	sbom, err := one.SBOM.Digest()
	if err != nil {
		return p, err
	}
	manifest, err := one.Image.Manifest()
	if err != nil {
		return p, err
	}
	for _, layer := range manifest.Layers {
		p.Bytes += layer.Size
	}
	p.Digest, p.SBOM = digest.String(), sbom.String()
	return p, nil
}

func write(out io.Writer, format string, results []result) error {
	switch format {
	case formatJSON:
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(results)
	case formatYAML:
		content, err := yaml.Marshal(results)
		if err != nil {
			return err
		}
		_, err = out.Write(content)
		return err
	default:
		return table(out, results)
	}
}

func table(out io.Writer, results []result) error {
	const mebibyte = 1 << 20
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "IMAGE\tPLATFORM\tMIB\tDIGEST\tPLACE")
	for _, r := range results {
		fmt.Fprintf(w, "%s\tall\t\t%s\t%s\n", r.Name, r.Digest, r.Place)
		for _, p := range r.Platforms {
			fmt.Fprintf(w, "\t%s\t%.1f\t%s\t\n", p.Platform, float64(p.Bytes)/mebibyte, p.Digest)
		}
	}
	return w.Flush()
}

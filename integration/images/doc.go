// Package images builds the container images of the product from its source, for
// several architectures and without a container engine: Go builds the programs,
// go-containerregistry puts them together, and what the automator needs besides
// (git, OpenSSH's client, certificate authorities) comes from Debian packages
// pinned in debian.lock.yaml.
//
//	builder, err := images.NewBuilder(ctx, images.Options{})
//	built, err := builder.Build(ctx, images.Specs()[0])
//	digest, err := built.Push(ctx, "registry.example.com/tandem")
//
// The same commit gives the same digests wherever it is built: programs carry no
// paths and no build id, and every file and every image has the commit's time
// (or SOURCE_DATE_EPOCH). Nothing in an image runs as root or gains privileges.
//
// Each image holds its software bill of materials (SPDX) as a file, and a copy of
// it refers to the image, where registries and scanners look for it.
package images

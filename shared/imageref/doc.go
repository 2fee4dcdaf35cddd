// Package imageref finds the image references of Kubernetes manifests, changes
// them byte by byte, and proves that nothing else changed.
//
// Both sides of Tandem stand on it. The automator edits manifests with
// [Replace]; the synchronizer accepts a commit made by automation only if
// [OnlyImagesChanged] accepts every file of it. What the one can write and what
// the other accepts is therefore the same set, by construction: Replace hands
// its own result to the verifier before it returns it.
//
//	positions, err := imageref.Find("env/web.yaml", file)
//	for _, p := range positions {
//		// p.Path is "Deployment/web spec.template.spec.containers[0].image"
//		file, err = imageref.Replace("env/web.yaml", file, []imageref.Splice{{Position: p, Value: "nginx:1.29"}})
//	}
//
// # Which positions there are
//
//   - In the built-in kinds that carry a PodSpec: the images of all containers, and
//     image volumes.
//   - In Kustomizations and Components: newTag and digest of the entries of images,
//     whose repository is newName, or name.
//   - In custom resources, and in YAML that is no object, such as Helm values: texts
//     whose key ends with image (or in lists, images) and that name a version, the
//     image of what is in a list of containers, and images that are written in
//     several fields: repository (or name, below a key that ends with image; or
//     image), with tag and digest (or sha, without the algorithm), and registry. The
//     keys may have a prefix that they share: imageRepository and imageTag. A
//     repository that is not below a key that ends with image has to name its host,
//     since charts and Git have repositories with tags, too.
//   - In lists of parameters for charts, and of images as Argo CD has them, also
//     "old=ghcr.io/acme/api:1.4.0"; in JSON patches, where the path ends with image.
//   - In literal blocks of text that are YAML: values and patch of custom resources
//     and Kustomizations, and files of ConfigMaps by their name.
//   - What a marker says, see [Marker]; in files that are not YAML only that. There a
//     marker stands at the end of the line, or alone above it.
//   - None in other built-in kinds, none in Tandem's own, none below .tandem.
//
// A digest goes where the file has a place for it. A tag without one takes it along,
// as "1.4.0@sha256:...": whatever joins repository and tag with a colon, as Kustomize
// and nearly all charts do, makes a reference of it that pins the image. A chart that
// puts the tag into labels cannot take that; give it a digest field, be it empty.
//
// # How a file is edited
//
//  1. The file is parsed once, for positions only. Nothing is ever printed from
//     the parsed tree, so comments, quotes, indentation, line ends and the final
//     newline (or its absence) stay as they are.
//  2. The scalar of a position is located as a range of bytes. A scalar that
//     cannot be replaced by replacing one range (an alias, an anchor, a block
//     scalar, a scalar over several lines) is a locked position: it is reported
//     with the reason, and never edited.
//  3. The range is replaced, in the quotes that were there.
//  4. The result is compared with the original: equal bytes outside of image
//     positions, a reference in strict grammar inside of them, and an equal
//     YAML tree but for these scalars.
//
// # What makes the verifier safe
//
// The positions come from the file as it was before, which a human signed. Where
// it is only the shape that makes a position, the repository has to stay; only tag
// and digest are positions of an image in several fields. The
// characters that may appear in a new value are those of a reference, none of
// which can end a scalar, start a comment or open a node, whatever YAML parser
// reads the file later. All other bytes are compared, not parsed.
package imageref

// Package imageref finds the image references of Kubernetes manifests, changes
// them byte by byte, and proves that nothing else changed.
//
// Both sides of Tandem stand on it. The automator edits manifests with
// [Replace]; the synchronizer accepts a commit made by automation only if
// [OnlyImagesChanged] accepts every file of it. What the one can write and what
// the other accepts is therefore the same set, by construction: Replace hands
// its own result to the verifier before it returns it.
//
//	positions, err := imageref.Find(file)
//	for _, p := range positions {
//		// p.Path is "Deployment/web spec.template.spec.containers[0].image"
//		file, err = imageref.Replace(file, []imageref.Splice{{Position: p, Value: "nginx:1.29"}})
//	}
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
// The positions come from the file as it was before, which a human signed. The
// characters that may appear in a new value are those of a reference, none of
// which can end a scalar, start a comment or open a node, whatever YAML parser
// reads the file later. All other bytes are compared, not parsed.
package imageref

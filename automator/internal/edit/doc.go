// Package edit writes the images of a pipeline into the files of an environment.
//
// It is pure: the bytes of files go in, the bytes of changed files come out, with
// what changed on which line. Which positions of a file are images, and how one is
// replaced without touching another byte, is shared/imageref's to know.
//
//	found := edit.Find(files, images)       // all images of the pipeline
//	found.Values("api")                     // what the environment has in Git
//	result := found.Write(map[string]edit.Value{"api": {Tag: "1.5.0", Digest: "sha256:..."}})
//
// # Which positions belong to an image
//
//	image: ghcr.io/acme/api:1.4.0                  the image with this repository
//	image: ghcr.io/acme/api:1.4.0 # tandem: api    the image api, and no other
//	VERSION: 1.4.0 # tandem: api:tag               a part of it: tag, digest or name
//	tag: 1.4.0 # {"$imagepolicy": "flux-system:api:tag"}
//
// No marker is needed as long as one image of the pipeline has the repository. If
// several have it, a marker has to say which one is meant. As soon as one position
// that needs no marker has one for an image, those without are left alone. A marker
// of a name that the pipeline does not have keeps the position out: it is another's.
// A marker may give the repository instead of a name, which the synchronizer
// understands, too: a tag whose repository nothing in the file tells cannot be held
// against a list of allowed repositories. A policy of Flux is the image of its name,
// or of its namespace and name joined by a dash; if there is none, the repository
// decides.
//
// A value is written as tag and digest, under the name that the file has for the
// repository, as shared/imageref says. Files that cannot be read, and positions that cannot be edited, are
// problems with a place; everything else goes on.
package edit

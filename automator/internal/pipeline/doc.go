// Package pipeline reads the files in .tandem and decides which images go where.
//
// It is pure: bytes of files go in, pipelines and problems come out; what runs,
// what could run and what is healthy go in, decisions come out. Git, registries,
// clusters and the clock are the caller's.
//
// # Files
//
// A pipeline is a file of two lists:
//
//	version: 1
//	app: checkout
//	images:
//	- name: api
//	  repository: ghcr.io/acme/checkout-api
//	  policy: {semver: ">=1.0.0 <2.0.0"}   # the default takes the newest version
//	  deny: ["-rc"]                        # and allow: expressions on tags
//	  platform: linux/arm64                # an image without it is no candidate
//	  minAge: 3d                           # since the tag was seen first
//	  hold: the auditors are here          # changes nothing, and says why
//	  verify:                              # all of these, or the image is never written
//	  - keys: [release]                    # any of these; a name of the automator's configuration, or PEM
//	  - attestation: https://slsa.dev/provenance/v1
//	    identities: [{issuer: https://token.actions.githubusercontent.com, subjectPattern: "https://github.com/acme/api/.+"}]
//	environments:                          # in the order of promotion
//	- {name: dev, path: env/dev, cluster: dev-eu}
//	- {name: prod, path: env/prod, cluster: prod-eu, promote: auto}
//	- {name: edge, path: env/prod, branch: edge} # the one with this file, unless it says another
//
// A policy is one of semver, newest (created, pushed), numeric and lexical (asc, desc), calver (a format), follow and pin (a
// tag); with match and extract, preReleases, precision (keep, any) and downgrade where they make sense.
//
// .tandem/clusters.yaml says what each cluster may receive:
//
//	version: 1
//	clusters:
//	- name: dev-eu
//	  grants: [{refs: [main], paths: [env/dev, base]}]
//
// An environment that names no cluster belongs to the one that is granted its
// path on its branch. [Load] reads all files and reports every problem of each with its file,
// line, column, and what to do; a file with problems takes no other down with it.
//
// # Decisions
//
// [Decide] is level-triggered: it looks at what is, not at what happened.
//
//	for each environment, in order:
//	  the first takes the policy's candidate for each image;
//	  a later one takes the release of the one before it, as a whole, once the
//	    cluster reported that one healthy at exactly these digests;
//	  nothing goes back to a lower version by itself;
//	  a value of ours that a person replaced is held until something newer comes.
//
// Whatever does not happen has a reason in the result.
package pipeline

// Package migrate turns what other image updaters are told into pipelines.
//
// It is pure: the files of a repository go in, files for .tandem come out, with a
// note for everything that has no equivalent. What it writes was read by the real
// parser of pipelines first; what that one does not take becomes a note, too.
//
//	result := migrate.From(migrate.Flux, files)
//	result.Files    // ".tandem/podinfo.yaml" and its bytes
//	result.Notes    // "apps/automation.yaml:14: git.push.branch: ..."
//
// # What becomes a pipeline
//
//   - [Flux]: each ImageUpdateAutomation, with the ImagePolicies that markers below
//     its path name (all of its namespace that it selects, if there are no markers)
//     and their ImageRepositories; each folder of workloads that Flux v1 automated.
//   - [ArgoCDImageUpdater]: each Application with an image list in its annotations,
//     or which an ImageUpdater names.
//   - [Keel]: each folder of workloads with a policy of Keel.
//
// Each gets one environment, because none of these knows of another. Environments
// are put in an order by hand: `tandem import` has nothing to read it from.
package migrate

package revision

import "strings"

const branchPrefix = "refs/heads/"

// BranchRef returns the full ref of a branch: "refs/heads/main" of "main".
func BranchRef(branch string) string { return branchPrefix + branch }

// BranchOf returns the name of a branch by its full ref; any other ref stays as it is.
func BranchOf(ref string) string { return strings.TrimPrefix(ref, branchPrefix) }

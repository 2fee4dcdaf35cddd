package doctor

import (
	"strconv"
	"strings"
)

// Minors is how many minor versions a synchronizer may be behind its automator.
const Minors = 2

// Versions judges a synchronizer's version beside its automator's.
func (r *Report) Versions(cluster, synchronizer, automator string) {
	const check = "version"
	ours, known := minor(synchronizer)
	theirs, alsoKnown := minor(automator)
	switch {
	case synchronizer == "" || automator == "":
		r.Warn(check, "upgrade the one that does not say its version", "%s runs %q, the automator %q", cluster, synchronizer, automator)
	case synchronizer == automator:
		r.Ok(check, "%s and the automator both run %s", cluster, automator)
	case !known || !alsoKnown:
		r.Warn(check, "", "%s runs %s, the automator %s: builds without a version are not compared", cluster, synchronizer, automator)
	case ours.major != theirs.major || ours.minor > theirs.minor || theirs.minor-ours.minor > Minors:
		r.Fail(check, "upgrade the automator first, then the synchronizers, at most two minor versions apart", "%s runs %s, the automator %s", cluster, synchronizer, automator)
	default:
		r.Ok(check, "%s runs %s, the automator %s", cluster, synchronizer, automator)
	}
}

type release struct{ major, minor int }

// minor reads "v1.2.3" or "1.2.3-rc.1".
func minor(version string) (release, bool) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) != 3 {
		return release{}, false
	}
	major, err := strconv.Atoi(parts[0])
	if err != nil {
		return release{}, false
	}
	of, err := strconv.Atoi(parts[1])
	return release{major, of}, err == nil
}

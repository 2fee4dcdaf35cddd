package migrate

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// keel reads Keel's annotations and labels of workloads.
func (c *collector) keel() {
	folders := c.byFolder("workloads of Keel")
	for _, o := range c.objects {
		policy := keelSetting(o, "policy")
		switch {
		case o.group == "" && o.kind == "" && o.at("keel", "policy").exists():
			c.note(o.at("keel"), "keel", "a chart's values; name its images by hand, they are found in this file by their repository")
		case !policy.exists(), policy.text() == "never":
		default:
			c.keelWorkload(folders, o, policy)
		}
	}
}

// keelSetting is an annotation or, as Keel has it, a label.
func keelSetting(o object, name string) value {
	if at := o.annotation("keel.sh/" + name); at.exists() {
		return at
	}
	return o.at("metadata", "labels").at("keel.sh/" + name)
}

func (c *collector) keelWorkload(folders byFolder, o object, policy value) {
	containers := o.containers()
	if len(containers) == 0 {
		c.note(policy, o.kind+" "+o.name, "no containers with an image; add the images by hand")
		return
	}
	only := keelSetting(o, "monitorContainers")
	for _, from := range containers {
		if only.exists() {
			expression, err := regexp.Compile(only.text())
			if err != nil || !expression.MatchString(from.name) {
				continue
			}
		}
		if r, ok := c.keelRules(o, policy, from); ok {
			folders.take(o, from, r)
		}
	}
	for _, left := range keelLeft() {
		if at := keelSetting(o, left.field); at.exists() {
			c.note(at, "keel.sh/"+left.field, "%s", left.why)
		}
	}
}

func (c *collector) keelRules(o object, policy value, from container) (rules, bool) {
	r := rules{preReleases: keelSetting(o, "match-prerelease").text() == "true" || keelSetting(o, "matchPreRelease").text() == "true"}
	kind, text, _ := strings.Cut(policy.text(), ":")
	follow := keelSetting(o, "match-tag").text() == "true" || keelSetting(o, "matchTag").text() == "true"
	switch kind {
	case "all":
		return r, true
	case "major", "minor", "patch":
		ok := c.keelRange(&r, kind, policy, from)
		return r, ok
	case "force":
		if from.ref.Tag == "" && follow {
			c.note(from.image, "keel.sh/policy", "there is no tag to follow")
			return rules{}, false
		}
		if follow {
			return rules{order: "follow", value: from.ref.Tag}, true
		}
		return rules{order: "newest", value: "pushed"}, true
	case "glob":
		return rules{order: "newest", value: "pushed", allow: globExpression(text)}, true
	case "regexp":
		expression, err := regexp.Compile(text)
		if err != nil {
			c.note(policy, "keel.sh/policy", "%v", err)
			return rules{}, false
		}
		if expression.SubexpIndex("compare") > 0 {
			return rules{order: "lexical", value: "asc", match: text, extract: "${compare}"}, true
		}
		return rules{order: "newest", value: "pushed", allow: text}, true
	}
	c.note(policy, "keel.sh/policy", "%q is no policy that is understood", policy.text())
	return rules{}, false
}

// keelRange turns a policy that is relative to what runs into a range.
func (c *collector) keelRange(r *rules, kind string, policy value, from container) bool {
	v, err := semver.NewVersion(from.ref.Tag)
	if err != nil {
		c.note(policy, "keel.sh/policy", "%s is relative to the version that runs, and the tag %q of %s is none", kind, from.ref.Tag, from.name)
		return false
	}
	r.order = "semver"
	switch kind {
	case "major":
		r.value = ">=0.0.0"
	case "minor":
		r.value = fmt.Sprintf(">=%d.0.0 <%d.0.0", v.Major(), v.Major()+1)
	case "patch":
		r.value = fmt.Sprintf(">=%d.%d.0 <%d.%d.0", v.Major(), v.Minor(), v.Major(), v.Minor()+1)
	}
	return true
}

func keelLeft() []leftover {
	return []leftover{
		{"trigger", noTimer},
		{"pollSchedule", noTimer},
		{"approvals", "there is no approval by chat; a person approves by merging, or holds"},
		{"approvalDeadline", "there is no approval by chat; a person approves by merging, or holds"},
		{"notify", "notifications stand in the automator's configuration"},
		{"releaseNotes", "commits say what changed"},
		{"monitorContainers", "it chose the images that were taken over; others of the workload stay as they are"},
		{"initContainers", "images of init containers are always edited"},
		{"imagePullSecret", inAutomator},
		{"updateTime", ownMessages},
	}
}

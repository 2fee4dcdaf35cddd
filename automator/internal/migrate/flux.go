package migrate

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/tandem-cd/tandem/shared/imageref"
)

const fluxGroup = "image.toolkit.fluxcd.io"

// fluxKinds are the objects of Flux's image controllers.
type fluxKinds struct {
	repositories, policies, automations []object
}

// flux turns each ImageUpdateAutomation into a pipeline.
func (c *collector) flux() {
	var kinds fluxKinds
	for _, o := range c.objects {
		switch {
		case o.group != fluxGroup:
		case o.kind == "ImageRepository":
			kinds.repositories = append(kinds.repositories, o)
			c.leftovers(o, fluxRepositoryLeft())
		case o.kind == "ImagePolicy":
			kinds.policies = append(kinds.policies, o)
			c.leftovers(o, fluxPolicyLeft())
		case o.kind == "ImageUpdateAutomation":
			kinds.automations = append(kinds.automations, o)
			c.leftovers(o, fluxAutomationLeft())
		}
	}
	used := map[string]bool{}
	for _, o := range kinds.automations {
		c.fluxAutomation(o, kinds, used)
	}
	for _, p := range kinds.policies {
		if !used[p.namespace+"/"+p.name] {
			c.note(p.value, "ImagePolicy "+p.name, "no ImageUpdateAutomation uses it, so that it became no image")
		}
	}
}

func (c *collector) fluxAutomation(o object, kinds fluxKinds, used map[string]bool) {
	folder := cleanPath(o.at("spec", "update", "path").text())
	a := c.newApp(o.name, "ImageUpdateAutomation "+o.name, folder, o.value)
	marked := c.marked(folder)
	for _, p := range kinds.policies {
		key := p.namespace + ":" + p.name
		if p.namespace != o.namespace || !selects(o.at("spec", "policySelector"), p) || len(marked) > 0 && !marked[key] {
			continue
		}
		used[p.namespace+"/"+p.name] = true
		repository, ok := c.fluxRepository(p, kinds.repositories)
		if !ok {
			continue
		}
		ref, err := imageref.Parse(repository.at("spec", "image").text())
		if err != nil {
			c.note(repository.at("spec", "image"), "spec.image", "%v", err)
			continue
		}
		r := c.fluxRules(p)
		for _, paused := range []object{o, p, repository} {
			if paused.at("spec", "suspend").text() == "true" {
				r.hold = "suspended in Flux: " + paused.kind + " " + paused.name
			}
		}
		r.deny = c.oneExpression(repository.at("spec", "exclusionList"), "spec.exclusionList")
		if name := a.add(p.name, p.value, ref, r); name != p.name {
			c.note(p.value, "ImagePolicy "+p.name, "the image is called %s, so that its markers have to be renamed: # tandem: %s", name, name)
		} else if a.shared(ref) && len(marked) == 0 {
			c.note(p.value, "ImagePolicy "+p.name, "several images have the repository %s; mark the places of this one: # tandem: %s", ref, name)
		}
	}
}

// selects tells whether a label selector takes an object; without one all are taken.
func selects(selector value, o object) bool {
	for _, label := range selector.at("matchLabels").pairs() {
		if o.at("metadata", "labels").at(label.key).text() != label.value.text() {
			return false
		}
	}
	return true
}

func (c *collector) fluxRepository(p object, repositories []object) (object, bool) {
	ref := p.at("spec", "imageRepositoryRef")
	namespace := p.namespace
	if ref.at("namespace").exists() {
		namespace = ref.at("namespace").text()
	}
	for _, r := range repositories {
		if r.name == ref.at("name").text() && r.namespace == namespace {
			return r, true
		}
	}
	c.note(p.value, "ImagePolicy "+p.name, "its ImageRepository %s/%s is in none of the files", namespace, ref.at("name").text())
	return object{}, false
}

// fluxRules translates a policy. Without an order, Flux's ascending one holds.
func (c *collector) fluxRules(p object) rules {
	var r rules
	policy := p.at("spec", "policy")
	order := func(v value) string {
		if text := v.at("order").text(); text != "" {
			return text
		}
		return "asc"
	}
	switch {
	case policy.at("semver").exists():
		r.order, r.value = "semver", policy.at("semver", "range").text()
		if r.value == "*" {
			r.value = ">=0.0.0"
		}
	case policy.at("alphabetical").exists():
		r.order, r.value = "lexical", order(policy.at("alphabetical"))
	case policy.at("numerical").exists():
		r.order, r.value = "numeric", order(policy.at("numerical"))
	default:
		c.note(p.value, "ImagePolicy "+p.name, "it says no order; the newest version is taken")
	}
	filter := p.at("spec", "filterTags")
	if pattern := filter.at("pattern"); pattern.exists() {
		r.match, r.extract = pattern.text(), filter.at("extract").text()
		if r.extract == "" {
			r.extract = "$0"
		}
	}
	return r
}

// oneExpression joins expressions into one, which has no more to say.
func (c *collector) oneExpression(list value, what string) string {
	var all []string
	for _, item := range list.items() {
		if _, err := regexp.Compile(item.text()); err != nil {
			c.note(item, what, "%v", err)
			continue
		}
		all = append(all, item.text())
	}
	slices.Sort(all)
	return strings.Join(all, "|")
}

var policyMarker = regexp.MustCompile(`"\$imagepolicy"\s*:\s*"([^":\s]+:[^":\s]+)`)

// marked returns the policies that Flux's markers below a folder name.
func (c *collector) marked(folder string) map[string]bool {
	names := map[string]bool{}
	for file, content := range c.files {
		if folder != "." && !strings.HasPrefix(path.Clean(file), folder+"/") {
			continue
		}
		for _, match := range policyMarker.FindAllSubmatch(content, -1) {
			names[string(match[1])] = true
		}
	}
	return names
}

// leftover is a setting without an equivalent.
type leftover struct{ field, why string }

func (c *collector) leftovers(o object, all []leftover) {
	for _, l := range all {
		if at := o.at(strings.Split(l.field, ".")...); at.exists() {
			c.note(at, o.kind+" "+o.name+" "+l.field, "%s", l.why)
		}
	}
}

const (
	inAutomator  = "how registries are reached stands in the automator's configuration"
	noTimer      = "there is no timer: what is found is committed at once, and how often registries are asked stands in the automator's configuration"
	paused       = "the images are held; remove \"hold\" from them to go on"
	ownMessages  = "the automator writes its own messages and trailers"
	ownSignature = "who commits, and with which key, stands in the automator's configuration"
	ownBranch    = "the automator commits to the branch that it reads"
)

func fluxRepositoryLeft() []leftover {
	return []leftover{
		{"spec.interval", noTimer},
		{"spec.timeout", inAutomator},
		{"spec.secretRef", inAutomator},
		{"spec.serviceAccountName", inAutomator},
		{"spec.provider", inAutomator},
		{"spec.certSecretRef", inAutomator},
		{"spec.proxySecretRef", inAutomator},
		{"spec.insecure", inAutomator},
		{"spec.accessFrom", "whoever can write the pipeline's file can name any repository"},
		{"spec.suspend", paused},
	}
}

func fluxPolicyLeft() []leftover {
	return []leftover{
		{"spec.digestReflectionPolicy", "the digest is always written with the tag"},
		{"spec.interval", "a tag that is taken keeps its digest; to follow one that moves, use the policy follow"},
		{"spec.suspend", paused},
	}
}

func fluxAutomationLeft() []leftover {
	return []leftover{
		{"spec.interval", noTimer},
		{"spec.suspend", paused},
		{"spec.git.push.branch", ownBranch},
		{"spec.git.push.refspec", ownBranch},
		{"spec.git.push.options", "pushes have no options"},
		{"spec.git.commit.author", ownSignature},
		{"spec.git.commit.signingKey", ownSignature},
		{"spec.git.commit.messageTemplate", ownMessages},
		{"spec.git.commit.messageTemplateValues", ownMessages},
		{"spec.policySelector.matchExpressions", "only matchLabels were read; take out what is too much"},
	}
}

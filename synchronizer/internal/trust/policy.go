package trust

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tandem-cd/tandem/shared/instant"
	"github.com/tandem-cd/tandem/shared/revision"
)

// Mode says whether signatures are asked for at all.
type Mode string

// The modes. There is no default: the installer chooses.
const (
	Signed Mode = "signed"
	Relay  Mode = "relay" // the automator is believed; every verdict says so
)

// Config is what an administrator writes.
type Config struct {
	Mode        Mode        `json:"mode"        yaml:"mode"`
	Humans      []Principal `json:"humans"      yaml:"humans"`
	Automations []Principal `json:"automations" yaml:"automations"`
}

// Principal is somebody whose signature counts.
type Principal struct {
	// Name is what messages call it. It is unique in a Config.
	Name string `json:"name" yaml:"name"`
	// Keys are its public keys.
	Keys []Keys `json:"keys" yaml:"keys"`
	// Paths are what it may change; with none, everything.
	Paths []string `json:"paths" yaml:"paths"`
	// Images are what an automation may bring; with none, other versions of the
	// images that are there. A human has none.
	Images []ImageRule `json:"images" yaml:"images"`
}

// Keys are public keys with one fate. A key that has ended still counts for
// what it signed before; that is what retiring is. A revoked key counts for
// nothing.
type Keys struct {
	// Key holds lines of authorized_keys or allowed_signers, or an armored block
	// of OpenPGP: see ParseKeys.
	Key     string    `json:"key"     yaml:"key"`
	From    time.Time `json:"from"    yaml:"from"`
	Until   time.Time `json:"until"   yaml:"until"`
	Revoked bool      `json:"revoked" yaml:"revoked"`
}

// Policy is a checked Config. It is immutable.
type Policy struct {
	mode  Mode
	keys  map[string]owned  // by Key.wire
	ids   map[string]string // of keys of OpenPGP: Key.wire by id
	names map[string]bool   // who counts
}

// owned is a key with its owner.
type owned struct {
	Key

	owner *principal
}

type class uint8

const (
	human class = iota + 1
	automation
)

func (c class) String() string {
	if c == human {
		return "human"
	}
	return "automation"
}

type principal struct {
	name   string
	class  class
	paths  []string // canonical
	images []imageRule
}

// NewPolicy checks a configuration. The error lists everything that is wrong.
func NewPolicy(c Config) (*Policy, error) {
	p := &Policy{mode: c.Mode, keys: map[string]owned{}, ids: map[string]string{}, names: map[string]bool{}}
	var problems []error
	if c.Mode != Signed && c.Mode != Relay {
		problems = append(problems, fmt.Errorf("mode is %q: choose %q or %q", c.Mode, Signed, Relay))
	}
	if c.Mode == Signed && len(c.Humans)+len(c.Automations) == 0 {
		problems = append(problems, fmt.Errorf("mode %q without anybody whose signature counts refuses everything", Signed))
	}
	for i, h := range c.Humans {
		problems = append(problems, in(fmt.Sprintf("humans[%d]", i), h.Name, p.add(human, h)))
	}
	for i, a := range c.Automations {
		problems = append(problems, in(fmt.Sprintf("automations[%d]", i), a.Name, p.add(automation, a)))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return p, nil
}

// in says where a problem is.
func in(place, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %q: %w", place, name, err)
}

func (p *Policy) add(c class, config Principal) error {
	if config.Name == "" || p.names[config.Name] {
		return errors.New("the name is missing or taken")
	}
	p.names[config.Name] = true
	paths, err := revision.CleanPaths(config.Paths)
	if err != nil {
		return err
	}
	images, err := parseImageRules(config.Images)
	if err != nil {
		return err
	}
	if c == human && len(images) > 0 {
		return errors.New("images bound what an automation may bring; a human has none")
	}
	if len(config.Keys) == 0 {
		return errors.New("no keys")
	}
	owner := &principal{name: config.Name, class: c, paths: paths, images: images}
	for i, keys := range config.Keys {
		if err := p.addKeys(owner, keys); err != nil {
			return fmt.Errorf("keys[%d]: %w", i, err)
		}
	}
	return nil
}

func (p *Policy) addKeys(owner *principal, config Keys) error {
	keys, err := ParseKeys(config.Key)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return errors.New("no key")
	}
	for _, key := range keys {
		key.From = instant.Later(key.From, config.From)
		key.Until = instant.EarlierEnd(key.Until, config.Until)
		key.Revoked = key.Revoked || config.Revoked
		if key.GPG == nil && !key.Until.IsZero() && !key.From.Before(key.Until) {
			return errors.New("the key ends before it begins")
		}
		wire := key.wire()
		if other, taken := p.keys[wire]; taken {
			return fmt.Errorf("the key is listed already, for %q", other.owner.name)
		}
		p.keys[wire] = owned{Key: key, owner: owner}
		if key.GPG == nil {
			continue
		}
		if _, taken := p.ids[key.GPG.ID]; taken {
			return fmt.Errorf("the id %s is of two OpenPGP keys", key.GPG.ID)
		}
		p.ids[key.GPG.ID] = wire
	}
	return nil
}

// Mode tells whether signatures are asked for.
func (p *Policy) Mode() Mode { return p.mode }

// Names are the principals that count, sorted.
func (p *Policy) Names() []string { return slices.Sorted(maps.Keys(p.names)) }

// Narrow is the policy with only the named principals. With no names it is the
// policy itself: a Sync can narrow what the cluster trusts, not widen it.
func (p *Policy) Narrow(names []string) (*Policy, error) {
	if len(names) == 0 {
		return p, nil
	}
	narrow := &Policy{mode: p.mode, keys: p.keys, ids: p.ids, names: map[string]bool{}}
	for _, name := range names {
		if !p.names[name] {
			return nil, fmt.Errorf("signer %q is not in the cluster's trust configuration", name)
		}
		narrow.names[name] = true
	}
	return narrow, nil
}

// mayChange tells whether the principal may change a path.
func (p *principal) mayChange(path string) bool {
	return len(p.paths) == 0 || revision.CoveredBy(p.paths, path)
}

// mayChangeAll tells the same of everything at or below paths.
func (p *principal) mayChangeAll(paths []string) bool {
	return !slices.ContainsFunc(paths, func(path string) bool { return !p.mayChange(path) })
}

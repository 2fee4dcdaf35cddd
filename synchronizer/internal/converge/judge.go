package converge

import (
	"fmt"
	"slices"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
)

// rules are a Sync's own rules of health, as they were understood last.
type rules struct {
	known bool
	rules []v1alpha1.HealthRule
	judge *health.Judge // of the last rules that could be understood; nil is everybody's
	err   error
}

// judge has the objects judged by the Sync's own rules, when those changed. While a rule is wrong, those before it go on.
func (p *pass) judge() error {
	w, now := p.work, p.sync.Spec.Health.Rules
	if w.rules.known && slices.Equal(w.rules.rules, now) {
		return w.rules.err
	}
	judge, err := p.loop.ownJudge(now)
	if err != nil {
		judge = w.rules.judge
	}
	w.rules = rules{known: true, rules: now, judge: judge, err: err}
	if err == nil {
		p.loop.deps.Live.Judge(p.sync.Label(), judge)
	}
	return err
}

// ownJudge returns the judge of a Sync with rules; nil for one without.
func (l *Loop) ownJudge(own []v1alpha1.HealthRule) (*health.Judge, error) {
	if len(own) == 0 {
		return nil, nil //nolint:nilnil // no judge is everybody's
	}
	rules := make([]health.Rule, len(own))
	for i, rule := range own {
		rules[i] = health.Rule(rule)
	}
	judge, err := l.deps.Health.With(rules)
	if err != nil {
		return nil, fmt.Errorf("spec.health.rules%w; correct it, and until then nothing of this Sync is applied", err)
	}
	return judge, nil
}

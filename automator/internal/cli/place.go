package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/tandem-cd/tandem/automator/internal/store"
)

// place is where an automator keeps its store, as flags say it.
type place struct{ stateDir, config string }

func (p *place) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.stateDir, "state-dir", "", "the automator's stateDir, with a store in a file")
	cmd.Flags().StringVar(&p.config, "automator-config", "", "the automator's configuration, automator.yaml, which says where the store is")
	cmd.MarkFlagsMutuallyExclusive("state-dir", "automator-config")
}

func (p *place) given() bool { return *p != place{} }

// store returns where the store is. Of the configuration it reads no more than that: the other secrets that are named there
// need not be at hand.
func (p *place) store() (store.Config, error) {
	configured := struct {
		StateDir string       `yaml:"stateDir"`
		Store    store.Config `yaml:"store"`
	}{StateDir: p.stateDir}
	if p.config != "" {
		content, err := os.ReadFile(p.config)
		if err != nil {
			return store.Config{}, err
		}
		if err := yaml.Unmarshal(content, &configured); err != nil {
			return store.Config{}, fmt.Errorf("%s: %w", p.config, err)
		}
	}
	if configured.StateDir == "" {
		return store.Config{}, fmt.Errorf("%s: stateDir is missing", p.config)
	}
	configured.Store.Path = filepath.Join(configured.StateDir, store.FileName)
	return configured.Store, configured.Store.Validate()
}

package synchronizer

import (
	"errors"
	"fmt"
	"os"

	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/shard"
	"github.com/tandem-cd/tandem/shared/telemetry"
	"github.com/tandem-cd/tandem/shared/telemetry/admin"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/lease"
	"github.com/tandem-cd/tandem/synchronizer/internal/serve"
	"github.com/tandem-cd/tandem/synchronizer/internal/signed"
	"github.com/tandem-cd/tandem/synchronizer/internal/tenancy"
	"github.com/tandem-cd/tandem/synchronizer/internal/trust"
)

// Config is the synchronizer's configuration file. It belongs to the cluster's administrator: who may change what, and
// which namespaces may use which paths, is decided here and nowhere else.
type Config struct {
	// Cluster is this cluster's name, as in its certificate and in .tandem/clusters.yaml.
	Cluster string `yaml:"cluster"`
	// Automator is where Git state comes from.
	Automator AutomatorConfig `yaml:"automator"`
	// Enrollment gives this cluster its identity: a key made here, and certificates that are renewed by themselves.
	Enrollment EnrollmentConfig `yaml:"enrollment"`
	// StateDir holds received objects and events that wait for the automator. Losing it costs a fetch.
	StateDir string `yaml:"stateDir"`
	// Log says how logs are written.
	Log telemetry.LogConfig `yaml:"log"`
	// Admin is the address of /healthz, /readyz and /metrics; empty serves none.
	Admin string `yaml:"admin"`
	// Debug is a loopback address, such as 127.0.0.1:6060, for profiles of net/http/pprof; empty serves none.
	Debug string `yaml:"debug"`
	// Status serves status queries; empty serves none.
	Status StatusConfig `yaml:"status"`
	// Replica names this process among the replicas of this cluster; the Pod's name by default. No two that run at the same
	// time may have the same.
	Replica string `yaml:"replica"`
	// Lease has one of several replicas work for each shard, and the others stand by. Without one this process MUST be the only
	// one.
	Lease LeaseConfig `yaml:"lease"`
	// Kubeconfig is the file to connect to the API server with; the pod's own account when empty.
	Kubeconfig string `yaml:"kubeconfig"`
	// Namespaces are the ones that Syncs and their objects are in; all when empty.
	Namespaces []string `yaml:"namespaces"`
	// Workers is how many Syncs are worked on at a time; 8 by default.
	Workers int `yaml:"workers"`
	// Trust says whose commits count. Its mode has no default: signed has every commit verified in this cluster, relay
	// believes the automator, and every Sync then shows the condition Unverified.
	Trust trust.Config `yaml:"trust"`
	// Images says which images must be signed, and by whom. Objects whose images are not are left as they are.
	Images signed.Config `yaml:"images"`
	// Health says when custom kinds are as they should be.
	Health HealthConfig `yaml:"health"`
	// Queries are the questions that people may ask through the automator: tree and events, unless this says otherwise; none
	// for []. diff shows contents of objects, and has commits rendered and tried that nobody signed.
	Queries []serve.Kind `yaml:"queries"`
	// Paths says which namespaces may use which paths. When it is empty every namespace may use what the cluster is granted.
	Paths []tenancy.PathRule `yaml:"paths"`
	// Dependencies says whose Syncs the Syncs of a namespace may depend on, besides those of their own.
	Dependencies []tenancy.DependencyRule `yaml:"dependencies"`
	// Quotas bounds what one Sync may hold; one that holds more is refused as a whole.
	Quotas tenancy.Quotas `yaml:"quotas"`
}

// HealthConfig says when custom kinds are as they should be.
type HealthConfig struct {
	// Rules come before the shipped ones; the first one that fits an object counts.
	Rules []health.Rule `yaml:"rules"`
}

// AutomatorConfig is how to reach the automator.
type AutomatorConfig struct {
	// Address is host:port.
	Address string `yaml:"address"`
	// ServerName is the name in the automator's certificate when it is not the host of Address.
	ServerName string `yaml:"serverName"`
	// TLS identifies this cluster by files instead of enrollment, when something else hands out certificates; its CA signs
	// the automator.
	TLS rpc.TLSFiles `yaml:"tls"`
	// Proxy is for automators behind a proxy that ends TLS.
	Proxy ProxyConfig `yaml:"proxy"`
}

// ProxyConfig is about a proxy that ends TLS between this cluster and the automator. Calls carry a signed pass then, and
// the automator has to know the name that is dialled, under its own proxy.names.
type ProxyConfig struct {
	// TerminatesTLS says that there is such a proxy.
	TerminatesTLS bool `yaml:"terminatesTLS"`
	// CAFile holds the CA that signed the proxy's certificate; the system's when empty.
	CAFile string `yaml:"caFile"`
}

// EnrollmentConfig is where this cluster's identity comes from and where it is kept.
type EnrollmentConfig struct {
	// TokenFile holds what `tandem cluster enroll` printed. It is needed until the cluster is enrolled, and again when it
	// was revoked.
	TokenFile string `yaml:"tokenFile"`
	// Secret keeps key and certificate in the cluster. It is made when there is none.
	Secret SecretName `yaml:"secret"`
	// Dir keeps them in a folder instead, for a synchronizer that runs outside of its cluster.
	Dir string `yaml:"dir"`
}

// SecretName names a Secret.
type SecretName struct {
	// Namespace and Name are both needed.
	Namespace string `yaml:"namespace"`
	Name      string `yaml:"name"`
}

// LeaseConfig is the Lease that the replica holds which works; of several shards the first one's, and the others' are named after
// it, NAME-1 and so on.
type LeaseConfig struct {
	// Namespace and Name are both needed.
	Namespace string `yaml:"namespace"`
	Name      string `yaml:"name"`
	// Duration is how long a replica that has gone is waited for; 15 s by default, between 3 s and 5 min.
	Duration config.Duration `yaml:"duration"`
	// Shards is by how many replicas the Syncs are divided; 1 by default, 16 at most. Each works for one shard, and further
	// replicas stand by for any.
	Shards int `yaml:"shards"`
}

func (c LeaseConfig) validate() error {
	if c == (LeaseConfig{}) {
		return nil
	}
	if c.Namespace == "" || c.Name == "" {
		return errors.New("lease: namespace and name are both needed")
	}
	if d := c.Duration.Or(lease.DefaultDuration); d < lease.MinDuration || d > lease.MaxDuration {
		return fmt.Errorf("lease.duration: %s is not between %s and %s", d, lease.MinDuration, lease.MaxDuration)
	}
	if c.Shards < 0 || c.Shards > shard.Max {
		return fmt.Errorf("lease.shards: %d is not between 1 and %d", c.Shards, shard.Max)
	}
	return nil
}

// StatusConfig is the listener for status queries. Callers show a bearer token of this cluster, and may see the Syncs
// that they may get.
type StatusConfig struct {
	// Listen is its address.
	Listen string `yaml:"listen"`
	// TLS identifies this server; its CA is not used.
	TLS rpc.TLSFiles `yaml:"tls"`
}

// Validate fills defaults and returns every problem.
func (c *Config) Validate() error {
	var problems []error
	require := func(value, key, why string) {
		if value == "" {
			problems = append(problems, fmt.Errorf("%s is missing: %s", key, why))
		}
	}
	require(c.Cluster, "cluster", "this cluster's name, as in .tandem/clusters.yaml")
	require(c.Automator.Address, "automator.address", "host:port of the automator")
	problems = append(problems, c.validateIdentity())
	if err := admin.CheckDebug(c.Debug); err != nil {
		problems = append(problems, fmt.Errorf("debug: %w", err))
	}
	require(c.StateDir, "stateDir", "a folder for received objects")
	if c.Status.Listen != "" {
		require(c.Status.TLS.Cert, "status.tls.cert", "tokens must not travel in the clear")
		require(c.Status.TLS.Key, "status.tls.key", "the certificate's key in PEM")
	}
	if c.Workers < 0 {
		problems = append(problems, errors.New("workers is negative"))
	}
	if _, err := health.NewJudge(c.Health.Rules); err != nil {
		problems = append(problems, fmt.Errorf("health.rules: %w", err))
	}
	if err := c.validateQueries(); err != nil {
		problems = append(problems, fmt.Errorf("queries: %w", err))
	}
	if _, err := signed.NewPolicy(c.Images); err != nil {
		problems = append(problems, fmt.Errorf("images: %w", err))
	}
	problems = append(problems, c.validateTrust(), c.validateTenancy(), c.Lease.validate())
	if c.Replica == "" {
		c.Replica = podName()
	}
	return errors.Join(problems...)
}

// validateIdentity checks how the automator knows this cluster.
func (c *Config) validateIdentity() error {
	e := c.Enrollment
	files, enrolls := c.Automator.TLS != rpc.TLSFiles{}, e != EnrollmentConfig{}
	inSecret := e.Secret != SecretName{}
	switch {
	case files && enrolls:
		return errors.New("both enrollment and automator.tls are given: remove automator.tls to let this cluster enroll, or enrollment to go on with certificates in files")
	case enrolls && inSecret == (e.Dir != ""):
		return errors.New("enrollment: give either secret (namespace and name) or dir: where key and certificate are kept")
	case enrolls && !inSecret && c.Lease != (LeaseConfig{}):
		return errors.New("enrollment.dir is for a synchronizer without a lease: replicas share their identity in a Secret, enrollment.secret")
	case enrolls && inSecret && (e.Secret.Namespace == "" || e.Secret.Name == ""):
		return errors.New("enrollment.secret: namespace and name are both needed")
	case enrolls:
		return nil
	case !files:
		return errors.New("enrollment is missing: tokenFile, and secret or dir (see `tandem cluster enroll --help`), or automator.tls with certificates in files")
	case c.Automator.Proxy.TerminatesTLS:
		return errors.New("automator.proxy needs enrollment: passes are signed with the enrolled key")
	}
	var problems []error
	for key, value := range map[string]string{"cert": c.Automator.TLS.Cert, "key": c.Automator.TLS.Key, "ca": c.Automator.TLS.CA} {
		if value == "" {
			problems = append(problems, fmt.Errorf("automator.tls.%s is missing: a file in PEM", key))
		}
	}
	return errors.Join(problems...)
}

func (c *Config) validateTrust() error {
	if c.Trust.Mode == "" {
		return errors.New("trust.mode is missing: choose signed (commits are verified in this cluster) or relay (the automator is believed)")
	}
	if c.Trust.Mode == trust.Signed && len(c.Trust.Humans) == 0 {
		return errors.New("trust.humans is empty: with mode signed nobody could change anything; name at least one person and key")
	}
	if _, err := trust.NewPolicy(c.Trust); err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	return nil
}

// tenancy are the rules for namespaces.
func (c *Config) tenancy() tenancy.Rules {
	return tenancy.Rules{Paths: c.Paths, Dependencies: c.Dependencies, Quotas: c.Quotas}
}

// validateTenancy checks the rules for namespaces and takes them over with what was filled in.
func (c *Config) validateTenancy() error {
	rules := c.tenancy()
	err := rules.Validate()
	c.Quotas = rules.Quotas
	return err
}

// Load reads the configuration file.
func Load(path string) (Config, error) {
	var cfg Config
	err := config.ReadFile(path, &cfg)
	return cfg, err
}

// podName is how Kubernetes calls this process.
func podName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "synchronizer"
	}
	return name
}

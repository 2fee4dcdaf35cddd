package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tandem-cd/tandem/shared/config"
)

// Defaults and bounds of connections.
const (
	defaultPort             = "5432"
	defaultConnectTimeout   = 10 * time.Second
	defaultStatementTimeout = 30 * time.Second
	defaultConnections      = 8
	// otherConnections are one for writing, one that listens, and one for a backup; the rest is for reading.
	otherConnections = 3
	minConnections   = otherConnections + 1
	maxConnections   = 100
	// keepAlive is how often a connection without traffic is tried.
	keepAlive = 15 * time.Second
	// applicationName is what the server's administrators see.
	applicationName = "tandem-automator"
)

// Postgres says how to reach a PostgreSQL database. What it does not say comes from libpq's variables (PGSSLCERTMODE and
// its kin). The password is read anew for each connection, so that it can be replaced while the automator runs.
type Postgres struct {
	// Hosts are the servers, as host, host:port or the folder of a Unix socket; 5432 is the default port. Of several, the
	// one that takes writes is used: name a primary with its standbys to follow a failover.
	Hosts []string `yaml:"hosts"`
	// Database is the database, and User the role.
	Database string `yaml:"database"`
	User     string `yaml:"user"`
	// PasswordFile holds the role's password, if it needs one.
	PasswordFile string `yaml:"passwordFile"`
	// TLS is how the server is known; over a Unix socket there is none.
	TLS PostgresTLS `yaml:"tls"`
	// Schema holds the tables, and is made if it is missing; the first of the role's search path by default.
	Schema string `yaml:"schema"`
	// MaxConnections bounds the connections of this process, at least 4; 8 by default.
	MaxConnections int `yaml:"maxConnections"`
	// ConnectTimeout bounds connecting to each host; 10s by default.
	ConnectTimeout config.Duration `yaml:"connectTimeout"`
	// StatementTimeout bounds each statement; 30s by default. Migrations and backups are not bounded by it.
	StatementTimeout config.Duration `yaml:"statementTimeout"`
}

// PostgresTLS is how a server of PostgreSQL is known.
type PostgresTLS struct {
	// Mode is verify-full (the default), verify-ca, require or disable, as libpq has them.
	Mode string `yaml:"mode"`
	// CA holds the CA of the server in PEM; the system's by default.
	CA string `yaml:"ca"`
	// Cert and Key are the client's, where the server wants them.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

func (p *Postgres) given() bool { return len(p.Hosts) > 0 }

var (
	tlsModes   = []string{"verify-full", "verify-ca", "require", "disable"} //nolint:gochecknoglobals // a constant
	schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
)

// validate fills defaults and returns every problem joined.
func (p *Postgres) validate() error {
	if !p.given() {
		if p.Database != "" || p.User != "" || p.PasswordFile != "" || p.Schema != "" || p.TLS != (PostgresTLS{}) {
			return errors.New("hosts is empty: name the server, such as db.example.com:5432")
		}
		return nil
	}
	var problems []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	for _, host := range p.Hosts {
		if _, _, err := splitHost(host); err != nil {
			problems = append(problems, err)
		}
	}
	add(p.Database == "", "database is missing: a database for this automator, or for all of its replicas")
	add(p.User == "", "user is missing: a role that may create tables in the database")
	if p.TLS.Mode == "" {
		p.TLS.Mode = tlsModes[0]
	}
	add(!slices.Contains(tlsModes, p.TLS.Mode), "tls.mode is %q; want %s", p.TLS.Mode, strings.Join(tlsModes, ", "))
	add((p.TLS.Cert == "") != (p.TLS.Key == ""), "tls.cert and tls.key belong together: one of them is missing")
	add(p.Schema != "" && !schemaName.MatchString(p.Schema), "schema %q is no name of small letters, digits and underscores", p.Schema)
	if p.MaxConnections == 0 {
		p.MaxConnections = defaultConnections
	}
	add(p.MaxConnections < minConnections || p.MaxConnections > maxConnections, "maxConnections is %d; want %d to %d", p.MaxConnections, minConnections, maxConnections)
	add(p.ConnectTimeout < 0 || p.StatementTimeout < 0, "a timeout is negative")
	add(p.StatementTimeout > 0 && time.Duration(p.StatementTimeout) < time.Millisecond, "statementTimeout is %s; want at least 1ms", time.Duration(p.StatementTimeout))
	p.ConnectTimeout = config.Duration(p.ConnectTimeout.Or(defaultConnectTimeout))
	p.StatementTimeout = config.Duration(p.StatementTimeout.Or(defaultStatementTimeout))
	return errors.Join(problems...)
}

// splitHost splits host, host:port, [address]:port, or the folder of a socket with or without a port.
func splitHost(text string) (host, port string, err error) {
	host, port = text, defaultPort
	if at := strings.LastIndexByte(text, ':'); at >= 0 && (strings.Count(text, ":") == 1 || strings.Contains(text, "]:")) {
		host, port = text[:at], text[at+1:]
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, err := strconv.ParseUint(port, 10, 16); err != nil || host == "" || strings.ContainsAny(host, ",@?= '\\") {
		return "", "", errors.New("hosts: want host, host:port or the folder of a socket, without a user or a password")
	}
	return host, port, nil
}

// String says which database it is, without a secret.
func (p *Postgres) String() string {
	return fmt.Sprintf("%s at %s", p.Database, strings.Join(p.Hosts, ", "))
}

// connConfig reads files of secrets and certificates and returns how to connect. Parameters are set for the session.
func (p *Postgres) connConfig(parameters map[string]string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(p.settings())
	if err != nil {
		return nil, err
	}
	if p.PasswordFile != "" {
		// Set here and not in the settings, which errors quote.
		if cfg.Password, err = config.ReadSecret(p.PasswordFile); err != nil {
			return nil, err
		}
	}
	maps.Copy(cfg.RuntimeParams, parameters)
	cfg.RuntimeParams["application_name"] = applicationName
	if p.Schema != "" {
		cfg.RuntimeParams["search_path"] = p.Schema
	}
	cfg.ConnectTimeout = time.Duration(p.ConnectTimeout)
	cfg.DialFunc = (&net.Dialer{KeepAlive: keepAlive}).DialContext
	cfg.OnPgError = keepConnection
	return cfg, nil
}

// settings are those of libpq, for the parser of pgx: it knows what each TLS mode means.
func (p *Postgres) settings() string {
	var hosts, ports []string
	for _, text := range p.Hosts {
		host, port, _ := splitHost(text) // Validate has tried
		hosts, ports = append(hosts, host), append(ports, port)
	}
	settings := map[string]string{
		"host": strings.Join(hosts, ","), "port": strings.Join(ports, ","), "dbname": p.Database, "user": p.User,
		"sslmode": p.TLS.Mode, "sslrootcert": p.TLS.CA, "sslcert": p.TLS.Cert, "sslkey": p.TLS.Key,
		"target_session_attrs": "read-write",
	}
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var text []string
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if settings[key] != "" {
			text = append(text, key+"='"+escape.Replace(settings[key])+"'")
		}
	}
	return strings.Join(text, " ")
}

// keepConnection reports whether a connection is good after an error. One to a server that has become a standby is not.
func keepConnection(_ *pgconn.PgConn, err *pgconn.PgError) bool {
	return err.SeverityUnlocalized != "FATAL" && err.Severity != "FATAL" && err.Code != codeReadOnly
}

// session returns the parameters of a session whose statements are bounded.
func (p *Postgres) session() map[string]string {
	timeout := strconv.FormatInt(time.Duration(p.StatementTimeout).Milliseconds(), 10)
	return map[string]string{"statement_timeout": timeout, "idle_in_transaction_session_timeout": timeout}
}

// patient returns the parameters of a session for work that takes as long as there is data.
func patient() map[string]string {
	return map[string]string{"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0"}
}

// dial connects once.
func (p *Postgres) dial(ctx context.Context, parameters map[string]string) (*pgx.Conn, error) {
	cfg, err := p.connConfig(parameters)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, cfg)
}

package store

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Codes of PostgreSQL's errors.
const (
	codeNoDatabase     = "3D000"
	codeNoSchema       = "3F000"
	codeBadPassword    = "28P01"
	codeNoRole         = "28000"
	codeNotAllowed     = "42501"
	codeReadOnly       = "25006"
	codeTooMany        = "53300"
	codeStarting       = "57P03"
	codeCanceled       = "57014"
	codeLockNotHad     = "55P03"
	messageReadOnly    = "read only connection"
	messageTLSRefused  = "server refused TLS connection"
	messageNoPlaintext = "no encryption"
)

// errForeignTables is a reason not to touch a database.
var errForeignTables = errors.New("the schema holds tables of another program; the store needs a database of its own, or a schema under store.postgres.schema")

// explain returns an error of opening in words that say what to do.
func (p *Postgres) explain(err error) error {
	if advice := p.advice(err); advice != "" {
		return fmt.Errorf("open store %s: %s: %w", p, advice, err)
	}
	return fmt.Errorf("open store %s: %w", p, err)
}

func (p *Postgres) advice(err error) string {
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		return p.adviceOnRefusal(refusal)
	}
	text := err.Error()
	switch {
	case strings.Contains(text, messageReadOnly):
		return "none of the hosts takes writes: it is a standby; name the primary, or all servers, under store.postgres.hosts"
	case strings.Contains(text, messageTLSRefused):
		return "the server speaks no TLS: turn ssl on there, or, where nobody else can listen, set store.postgres.tls.mode to disable"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the server's certificate is not trusted: give its CA as store.postgres.tls.ca, and call the server by a name that the certificate has"
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return "the server cannot be reached: check store.postgres.hosts, that it runs, and that nothing on the way keeps connections out"
	}
	return ""
}

func (p *Postgres) adviceOnRefusal(refusal *pgconn.PgError) string {
	switch refusal.Code {
	case codeNoDatabase:
		return fmt.Sprintf("create the database: CREATE DATABASE %q OWNER %q", p.Database, p.User)
	case codeNoSchema:
		return "the role has no schema to make tables in: create one, or name one under store.postgres.schema"
	case codeBadPassword:
		return "the role or its password is wrong: check store.postgres.user and the file store.postgres.passwordFile"
	case codeNoRole:
		if strings.Contains(refusal.Message, messageNoPlaintext) {
			return "the server takes connections with TLS only: set store.postgres.tls.mode to verify-full"
		}
		return "the server does not let the role in: see its pg_hba.conf, and that the role exists and may log in"
	case codeNotAllowed:
		return fmt.Sprintf("the role may not make tables: make it the owner of the database (ALTER DATABASE %q OWNER TO %q), or of the schema", p.Database, p.User)
	case codeReadOnly:
		return "the server takes no writes: it is a standby, or set to read only; name the primary, or all servers, under store.postgres.hosts"
	case codeTooMany:
		return "the server has no connection left: raise its max_connections, or lower store.postgres.maxConnections"
	case codeStarting:
		return "the server is starting or stopping: it will answer soon"
	case codeCanceled, codeLockNotHad:
		return "somebody holds a lock: a backup is being restored, or another automator hangs in a transaction"
	default:
		return ""
	}
}

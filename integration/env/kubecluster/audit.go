package kubecluster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// maxAuditLine bounds one audit record; at Metadata level they stay far below.
const maxAuditLine = 1 << 20

// Request is one request the API server has answered.
type Request struct {
	At           time.Time
	Verb         string // as RBAC says it: get, list, watch, patch, ...
	User         string // who authenticated
	Impersonated string // whom it acted as, or empty
	Credential   string // the token that it showed, or empty: it tells processes of one user apart
	URI          string
	Group        string
	Resource     string
	Subresource  string
	Namespace    string
	Name         string
	Code         int
}

// auditRecord is the part of audit.k8s.io/v1 Event that Request keeps.
type auditRecord struct {
	Received time.Time   `json:"requestReceivedTimestamp"`
	Stage    string      `json:"stage"`
	Verb     string      `json:"verb"`
	URI      string      `json:"requestURI"`
	User     auditUser   `json:"user"`
	As       auditUser   `json:"impersonatedUser"`
	Object   auditObject `json:"objectRef"`
	Response auditStatus `json:"responseStatus"`
}

type auditUser struct {
	Username string              `json:"username"`
	Extra    map[string][]string `json:"extra"`
}

// credentialID is where the API server names the token of a service account.
const credentialID = "authentication.kubernetes.io/credential-id"

type auditStatus struct {
	Code int `json:"code"`
}

type auditObject struct {
	APIGroup    string `json:"apiGroup"`
	Resource    string `json:"resource"`
	Subresource string `json:"subresource"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
}

// Requests lists what a user has asked so far, impersonating or not, in the
// order of the answers; every user's where the name is empty. Leases and
// watches are left out: they are what a client pays for being there, and not
// for what it does.
func (c *Cluster) Requests(user string) ([]Request, error) {
	if c.attached != nil {
		return nil, ErrAttached
	}
	if !c.opts.Audit {
		return nil, errNoAudit
	}
	file, err := os.Open(c.auditLog())
	if err != nil {
		return nil, err
	}
	defer file.Close()
	requests, err := readAudit(file)
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	var counted []Request
	for _, r := range requests {
		if (user == "" || r.User == user) && r.Verb != "watch" && r.Resource != "leases" {
			counted = append(counted, r)
		}
	}
	return counted, nil
}

func (l layout) auditLog() string { return filepath.Join(l.logDir, "audit.log") }

func readAudit(from io.Reader) ([]Request, error) {
	var requests []Request
	lines := bufio.NewReaderSize(from, maxAuditLine)
	for {
		line, err := lines.ReadSlice('\n')
		if err == io.EOF {
			return requests, nil // a last line without its end is still being written
		}
		if err != nil {
			return nil, err
		}
		var record auditRecord
		if err := json.Unmarshal(line, &record); err != nil {
			return nil, err
		}
		if record.Stage == "ResponseComplete" {
			requests = append(requests, record.request())
		}
	}
}

func (r auditRecord) request() Request {
	return Request{
		At: r.Received, Verb: r.Verb, User: r.User.Username, Impersonated: r.As.Username,
		Credential: strings.Join(r.User.Extra[credentialID], ","), URI: r.URI,
		Group: r.Object.APIGroup, Resource: r.Object.Resource, Subresource: r.Object.Subresource,
		Namespace: r.Object.Namespace, Name: r.Object.Name, Code: r.Response.Code,
	}
}

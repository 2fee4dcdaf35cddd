// Package cloud exchanges what the process is in a cloud for credentials of that cloud's image registry.
//
// What the process is, each cloud's own library finds out: a role of its Pod or machine, a file that an environment
// variable names, or a key. What it gets is short-lived, is kept until shortly before it ends, and is only ever asked for,
// and given, for hosts that belong to the cloud: a token that opens more than a registry must not reach anybody else's.
package cloud

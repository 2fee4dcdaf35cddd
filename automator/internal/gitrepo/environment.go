package gitrepo

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// remoteName is what the commands call the one remote.
const remoteName = "origin"

// setting is one line of git configuration.
type setting struct{ key, value string }

// settings are handed to git by environment, where no file in the mirror and no user's configuration can change them.
func (c Config) settings() []setting {
	protocol, _ := protocolOf(c.URL) // complete has checked it
	out := []setting{
		{"core.hooksPath", "/dev/null"},
		{"core.fsmonitor", "false"},
		{"core.logAllRefUpdates", "false"},
		{"core.bigFileThreshold", "32m"}, // larger blobs are streamed, so that refusing one costs no memory
		{"gc.auto", "0"},
		{"maintenance.auto", "false"},
		{"advice.pushUpdateRejected", "false"},
		{"advice.pushFetchFirst", "false"},
		{"credential.helper", ""},
		{"protocol.version", "2"},
		{"protocol.allow", "never"},
		{"protocol." + protocol + ".allow", "always"},
		{"transfer.fsckObjects", "true"},
		{"transfer.credentialsInUrl", "die"},
		{"fetch.showForcedUpdates", "false"},
		{"fetch.recurseSubmodules", "false"},
		{"push.recurseSubmodules", "no"},
		{"pack.threads", "1"},
		{"pack.windowMemory", "64m"},
		{"http.followRedirects", "false"}, // a redirect must not choose who gets our credentials
		{"http.sslVersion", "tlsv1.2"},    // or later
		{"http.lowSpeedLimit", "1000"},
		{"http.lowSpeedTime", "30"},
		{"remote." + remoteName + ".url", c.URL},
		{"remote." + remoteName + ".tagOpt", "--no-tags"}, // they come by refspec, all of them
	}
	for _, old := range tolerated() {
		out = append(out, setting{"fetch.fsck." + old, "warn"})
	}
	// The ledger lives under refs/tandem.
	for _, prefix := range []string{"refs/heads/", "refs/tags/", "refs/tandem/"} {
		out = append(out, setting{"remote." + remoteName + ".fetch", "+" + prefix + "*:" + prefix + "*"})
	}
	for _, s := range []setting{
		{"http.sslCAInfo", c.TLS.CAFile}, {"http.sslCert", c.TLS.CertFile}, {"http.sslKey", c.TLS.KeyFile},
	} {
		if s.value != "" {
			out = append(out, s)
		}
	}
	return out
}

// tolerated are faults of objects: history made by tools of long ago is full of them, and they endanger nobody.
func tolerated() []string {
	return []string{"zeroPaddedFilemode", "badTimezone", "missingSpaceBeforeDate", "missingNameBeforeEmail"}
}

// toleratedTypes is the same as an option of git.
func toleratedTypes() string { return strings.Join(tolerated(), "=warn,") + "=warn" }

// environment is the whole environment of a command. Only one that talks to the remote gets credentials.
func (c Config) environment(gitDir string, with access) []string {
	env := []string{
		"LC_ALL=C", // messages are read, in push.go and failure.go
		"HOME=" + c.Dir,
		"GIT_DIR=" + gitDir,
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_PROTOCOL_FROM_USER=0",
		"GIT_NO_REPLACE_OBJECTS=1",
		"GIT_LITERAL_PATHSPECS=1",
		"GIT_SSH_VARIANT=ssh",
		"GIT_SSH_COMMAND=" + c.Auth.sshCommand(),
	}
	// The only variables of ours that git sees: where programs are, and how the network is reached.
	for _, name := range []string{
		"PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY",
	} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	settings := c.settings()
	if with.basic != "" {
		// Sent with the first request: asking without it first would cost a round trip on every command.
		settings = append(settings, setting{"http." + c.URL + ".extraHeader", "Authorization: Basic " + with.basic})
	}
	env = append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(settings)))
	for i, s := range settings {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, s.key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, s.value))
	}
	return env
}

// sshCommand is what git runs to reach an ssh remote: with one key, to hosts that are known, and never asking.
func (a Auth) sshCommand() string {
	knownHosts := a.KnownHostsFile
	if knownHosts == "" {
		knownHosts = "/dev/null"
	}
	words := []string{"ssh", "-F", "/dev/null"}
	if a.SSHKeyFile != "" {
		words = append(words, "-o", "IdentityFile="+sshQuote(a.SSHKeyFile)) // -i would look for a file with "%%"
	}
	for _, option := range []string{
		"IdentitiesOnly=yes",
		"IdentityAgent=none",
		"BatchMode=yes",
		"PasswordAuthentication=no",
		"StrictHostKeyChecking=yes",
		"UserKnownHostsFile=" + sshQuote(knownHosts),
		"GlobalKnownHostsFile=/dev/null",
		"UpdateHostKeys=no",
		"ForwardAgent=no",
		"ClearAllForwardings=yes",
		"ConnectTimeout=10",
		"ServerAliveInterval=15",
		"ServerAliveCountMax=2",
	} {
		words = append(words, "-o", option)
	}
	for i, word := range words {
		words[i] = shellQuote(word)
	}
	return strings.Join(words, " ")
}

// shellQuote makes one word of the shell that git hands the ssh command to.
func shellQuote(word string) string {
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// sshQuote makes one word of the value of an ssh option, which ssh splits at spaces and where % begins a token.
func sshQuote(path string) string {
	return `"` + strings.ReplaceAll(path, "%", "%%") + `"`
}

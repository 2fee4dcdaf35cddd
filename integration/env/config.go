package env

import (
	"cmp"
	"os"

	"sigs.k8s.io/yaml"

	"github.com/tandem-cd/tandem/shared/rpc"
)

// fields is a mapping of a configuration file. The files are written by their
// keys and not by the agents' types, as a user writes them: a key that is
// renamed breaks users, and so it has to break this.
type fields map[string]any

func writeYAML(path string, content fields) error {
	raw, err := yaml.Marshal(content)
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, privateMode)
}

func tlsFields(files rpc.TLSFiles) fields {
	return fields{"cert": files.Cert, "key": files.Key, "ca": files.CA}
}

func (w *World) automatorConfig(files rpc.TLSFiles) (fields, error) {
	remote, err := w.betweenURL(w.Git.URL(Repository), &w.GitHost)
	if err != nil {
		return nil, err
	}
	repository := fields{"name": Repository, "url": remote, "auth": fields{
		"username": gitUser, "passwordFile": w.file("keys", "git-password"),
	}}
	if len(w.opts.Branches) > 0 {
		repository["branches"] = w.opts.Branches
	}
	if w.opts.Remote == SSH {
		repository["url"] = w.Git.SSHURL(Repository)
		repository["auth"] = fields{"sshKeyFile": w.file("keys", "remote"), "knownHostsFile": w.file("keys", "known_hosts")}
	}
	config := fields{
		"listen":       w.addresses.grpc,
		"tls":          tlsFields(files),
		"stateDir":     w.file("automator"),
		"log":          w.logConfig(),
		"admin":        w.addresses.admin,
		"webhook":      fields{"listen": w.addresses.webhook, "tokenFile": w.file("keys", "webhook-token")},
		"signing":      fields{"name": "Tandem", "email": "tandem@example.com", "sshKeyFile": w.file("keys", "robot")},
		"repositories": []any{repository},
		"registries":   w.registriesConfig(),
	}
	if w.GitHub != nil {
		w.byAPI(config, repository)
	}
	if life := w.opts.Enroll; life > 0 {
		delete(config, "tls")
		config["authority"] = fields{
			"certFile": w.file("keys", "ca.crt"), "keyFile": w.file("keys", "ca.key"),
			"serverNames": []string{"localhost", loopback}, "certificateLife": life.String(),
		}
		config["admins"] = []string{User}
	}
	if w.addresses.debug != "" {
		config["debug"] = w.addresses.debug
	}
	if w.opts.Vault != nil {
		config["vault"] = w.opts.Vault
	}
	if w.opts.Traces != "" {
		config["traces"] = fields{"endpoint": w.opts.Traces}
	}
	if every := w.opts.PollInterval; every > 0 {
		repository["pollInterval"] = every.String()
	}
	if every := w.opts.ScanInterval; every > 0 {
		config["scanInterval"] = every.String()
	}
	return config, nil
}

func (w *World) registriesConfig() fields {
	hosts := fields{w.Registry.Host(): w.registryConfig()}
	for host, config := range w.opts.Registries {
		hosts[host] = config
	}
	config := fields{"hosts": hosts}
	if w.opts.Timeouts != nil {
		config["timeouts"] = w.opts.Timeouts
	}
	return config
}

func (w *World) registryConfig() fields {
	config := fields{"insecure": true}
	if w.opts.Private {
		config["username"], config["passwordFile"] = registryUser, w.file("keys", "registry-password")
	}
	return config
}

func (w *World) logConfig() fields {
	return fields{"level": cmp.Or(w.opts.LogLevel, "info"), "format": "console"}
}

func (s *Site) config(replica, dir string) fields {
	namespaces := []string{s.Namespace}
	if s.world.opts.Wide {
		namespaces = append(namespaces, s.Namespace+"-annex")
	}
	if s.world.opts.Everywhere {
		namespaces = nil
	}
	config := fields{
		"cluster":    s.Name,
		"automator":  fields{"address": s.automator, "tls": tlsFields(s.identity)},
		"stateDir":   dir + "/state",
		"log":        s.world.logConfig(),
		"kubeconfig": dir + "/kubeconfig",
		"namespaces": namespaces,
		"trust":      s.world.Trust(),
	}
	if s.world.opts.Queries != nil {
		config["queries"] = s.world.opts.Queries
	}
	if every := s.world.opts.Lease; every > 0 {
		config["replica"] = replica
		config["lease"] = fields{"namespace": s.Namespace, "name": LeaseName, "duration": every.String(), "shards": max(s.world.opts.Shards, 1)}
	}
	if s.world.opts.Enroll > 0 {
		config["automator"] = fields{"address": s.automator}
		config["enrollment"] = fields{
			"tokenFile": s.TokenFile(), "secret": fields{"namespace": s.Namespace, "name": IdentitySecret},
		}
	}
	return config
}

// TokenFile is where the synchronizer looks for a token to enroll with.
func (s *Site) TokenFile() string { return s.world.file(s.Name, "enrollment-token") }

// writeCLIConfig writes what `tandem --config` reads: a context for the
// automator, and one for each site.
func (w *World) writeCLIConfig() error {
	files, err := w.identity(rpc.RoleUser, User)
	if err != nil {
		return err
	}
	contexts := fields{"automator": fields{"address": w.addresses.grpc, "ca": files.CA, "cert": files.Cert, "key": files.Key}}
	for name, site := range w.Sites {
		contexts[name] = fields{"address": site.status, "ca": files.CA, "tokenFile": w.file(name, "token")}
	}
	return writeYAML(w.CLIConfig(), fields{"current": "automator", "contexts": contexts})
}

// CLIConfig is the file that the tandem command reads, by --config or
// TANDEM_CONFIG. Its contexts are "automator", the current one, and the sites.
func (w *World) CLIConfig() string { return w.file("tandem.yaml") }

// Trust is whose commits a synchronizer of the world believes, as its configuration says it.
func (w *World) Trust() map[string]any {
	automation := func(name, key string) fields {
		return fields{"name": name, "keys": []string{key}, "images": []string{w.Registry.Host() + "/*"}}
	}
	automations := []any{automation("tandem", line(w.keys.robot))}
	if w.GitHub != nil {
		automations = append(automations, automation("github", w.keys.github))
	}
	return fields{
		"mode":        "signed",
		"humans":      []any{fields{"name": "ada", "keys": []string{line(w.keys.human)}}},
		"automations": automations,
	}
}

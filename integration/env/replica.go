package env

import (
	"context"
	"fmt"
	"net"
	"os"

	"github.com/tandem-cd/tandem/integration/env/process"
	"github.com/tandem-cd/tandem/shared/shard"
)

// LeaseName is the Lease that the working synchronizer of a site holds, in its namespace.
const LeaseName = "tandem-synchronizer"

// LeaseNames are the Leases of all shards that there may be, by shard.
func LeaseNames() []string {
	names := []string{LeaseName}
	for index := 1; index < shard.Max; index++ {
		names = append(names, fmt.Sprintf("%s-%d", LeaseName, index))
	}
	return names
}

// AddReplica prepares another synchronizer of the site, with the same identity. Only one of them works, if the world has a
// Lease.
func (s *Site) AddReplica(ctx context.Context, name string) (*Agent, error) {
	replica, _, err := s.prepare(ctx, name)
	if err == nil {
		s.replicas = append(s.replicas, replica)
	}
	return replica, err
}

// prepare writes what a synchronizer of the site needs. It returns the address of its status too.
func (s *Site) prepare(ctx context.Context, replica string) (agent *Agent, status string, err error) {
	w := s.world
	ports, err := process.FreePorts(ctx, sitePorts)
	if err != nil {
		return nil, "", err
	}
	status, admin := net.JoinHostPort(loopback, ports[0]), net.JoinHostPort(loopback, ports[1])
	dir := w.file(s.Name, "replicas", replica)
	if replica == s.Name {
		dir = w.file(s.Name)
	}
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return nil, "", err
	}
	if err := s.writeKubeconfig(ctx, dir+"/kubeconfig"); err != nil {
		return nil, "", err
	}
	config := s.config(replica, dir)
	config["admin"] = admin
	config["status"] = fields{"listen": status, "tls": fields{"cert": s.serving.Cert, "key": s.serving.Key}}
	debug := ""
	if w.opts.Profiles {
		debug = net.JoinHostPort(loopback, ports[2])
		config["debug"] = debug
	}
	path := dir + "/synchronizer.yaml"
	if err := writeYAML(path, config); err != nil {
		return nil, "", err
	}
	return newAgent(agentConfig{
		name: synchronizerProgram, program: w.Program(synchronizerProgram), config: path,
		log: w.file("logs", "synchronizer-"+replica+".log"), admin: admin, debug: debug,
	}), status, nil
}

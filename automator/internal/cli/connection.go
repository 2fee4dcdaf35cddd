package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/rpc"
)

// target says how to reach an agent.
type target struct {
	// Address is host:port.
	Address string `yaml:"address"`
	// CA, Cert and Key are files in PEM.
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// TokenFile holds a bearer token, for a synchronizer.
	TokenFile string `yaml:"tokenFile"`
	// ServerName is the name in the agent's certificate when it is not the host of Address.
	ServerName string `yaml:"serverName"`
}

// contexts is the configuration file.
type contexts struct {
	Current  string            `yaml:"current"`
	Contexts map[string]target `yaml:"contexts"`
}

// Validate checks that the current context exists.
func (c *contexts) Validate() error {
	if c.Current == "" {
		return nil
	}
	if _, ok := c.Contexts[c.Current]; !ok {
		return fmt.Errorf("current context %q is not among contexts", c.Current)
	}
	return nil
}

// connection is what the flags say, over what the configuration file says.
type connection struct {
	file    string
	context string
	flags   target
}

func (c *connection) register(flags *pflag.FlagSet) {
	flags.StringVar(&c.file, "config", os.Getenv("TANDEM_CONFIG"), "configuration file (default ~/.config/tandem/config.yaml)")
	flags.StringVar(&c.context, "context", "", "context of the configuration file (default: its current one)")
	flags.StringVar(&c.flags.Address, "address", "", "agent's host:port")
	flags.StringVar(&c.flags.CA, "ca", "", "file with the CA that signed the agent's certificate, in PEM")
	flags.StringVar(&c.flags.Cert, "cert", "", "file with your certificate, in PEM")
	flags.StringVar(&c.flags.Key, "key", "", "file with your certificate's key, in PEM")
	flags.StringVar(&c.flags.TokenFile, "token-file", "", "file with a bearer token, to ask a synchronizer")
	flags.StringVar(&c.flags.ServerName, "server-name", "", "name in the agent's certificate (default: the address's host)")
}

// dial connects to the agent that flags and configuration name.
func (c *connection) dial() (*grpc.ClientConn, error) {
	to, err := c.target()
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(to.Address)
	if err != nil {
		return nil, fmt.Errorf("--address %q is not host:port", to.Address)
	}
	tlsConfig, err := rpc.TLSFiles{Cert: to.Cert, Key: to.Key, CA: to.CA}.Client(orElse(to.ServerName, host))
	if err != nil {
		return nil, err
	}
	var options []grpc.DialOption
	if to.TokenFile != "" {
		options = append(options, grpc.WithPerRPCCredentials(tokenFile(to.TokenFile)))
	}
	return rpc.Dial(to.Address, tlsConfig, options...)
}

func (c *connection) target() (target, error) {
	from, err := c.configured()
	if err != nil {
		return from, err
	}
	for _, field := range []struct {
		into *string
		flag string
	}{
		{&from.Address, c.flags.Address},
		{&from.CA, c.flags.CA},
		{&from.Cert, c.flags.Cert},
		{&from.Key, c.flags.Key},
		{&from.TokenFile, c.flags.TokenFile},
		{&from.ServerName, c.flags.ServerName},
	} {
		*field.into = orElse(field.flag, *field.into)
	}
	if from.Address == "" {
		return from, errors.New("no agent to ask: give --address, or write a context into ~/.config/tandem/config.yaml (see tandem --help)")
	}
	return from, nil
}

// configured returns the chosen context of the configuration file; its file names are relative to the file.
func (c *connection) configured() (target, error) {
	path, optional, err := c.path()
	if err != nil {
		return target{}, err
	}
	var file contexts
	err = config.ReadFile(path, &file)
	if optional && errors.Is(err, fs.ErrNotExist) && c.context == "" {
		return target{}, nil
	}
	if err != nil {
		return target{}, err
	}
	name := orElse(c.context, file.Current)
	to, ok := file.Contexts[name]
	if !ok && name != "" {
		return target{}, fmt.Errorf("%s has no context %q", path, name)
	}
	for _, p := range []*string{&to.CA, &to.Cert, &to.Key, &to.TokenFile} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(path), *p)
		}
	}
	return to, nil
}

func (c *connection) path() (path string, optional bool, err error) {
	if c.file != "" {
		return c.file, false, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", false, fmt.Errorf("find configuration: %w; give --config", err)
	}
	return filepath.Join(dir, "tandem", "config.yaml"), true, nil
}

// tokenFile sends the bearer token in a file with every call. The file is read for each call, as projected tokens rotate.
type tokenFile string

// GetRequestMetadata returns the authorization header.
func (f tokenFile) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := config.ReadSecret(string(f))
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity keeps the token off connections that can be read.
func (f tokenFile) RequireTransportSecurity() bool { return true }

func orElse(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

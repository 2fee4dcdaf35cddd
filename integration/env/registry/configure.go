package registry

import (
	"sync"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"             // Options.Username
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // Options.Dir
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"   // the default
	"github.com/sirupsen/logrus"                                                   //nolint:depguard // distribution's logger, to silence it
)

const (
	notificationsPath = "/-/notifications"

	// notifyTimeout bounds one delivery of a notification; notifyAttempts
	// failures in a row make the registry pause for notifyBackoff.
	notifyTimeout  = 5 * time.Second
	notifyAttempts = 5
	notifyBackoff  = time.Second
)

// silence stops distribution from logging every request. Its logger is the
// process's logrus, and cannot be given.
//
//nolint:gochecknoglobals // like the logger
var silence = sync.OnceFunc(func() { logrus.SetLevel(logrus.PanicLevel) })

// configure is what a configuration file of distribution would say. passwords
// is the path of an htpasswd file, or empty.
func configure(opts Options, passwords, notifications string) *configuration.Configuration {
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"inmemory": {},
			"delete":   {"enabled": true},
			"maintenance": {
				"uploadpurging": map[any]any{"enabled": false}, // a goroutine for nothing
			},
		},
	}
	if opts.Dir != "" {
		delete(config.Storage, "inmemory")
		config.Storage["filesystem"] = configuration.Parameters{"rootdirectory": opts.Dir}
	}
	if passwords != "" {
		config.Auth = configuration.Auth{"htpasswd": {"realm": "registry", "path": passwords}}
	}
	config.HTTP.Secret = "of one process" // signs the state of uploads
	config.Tags.MaxTags = opts.PageSize
	config.Notifications.Endpoints = []configuration.Endpoint{{
		Name:      notifications, // unique in the process
		URL:       notifications,
		Timeout:   notifyTimeout,
		Threshold: notifyAttempts,
		Backoff:   notifyBackoff,
	}}
	return config
}

package synchronizer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/tandem-cd/tandem/shared/bundle"
	"github.com/tandem-cd/tandem/shared/doctor"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// listedMost bounds the objects of one list in a bundle.
const listedMost = 500

// SupportBundle writes what somebody who helps needs to see of this cluster: what the doctor finds, the configuration as it
// is in configFile, what the running synchronizer shows on its ports, Syncs with their conditions, and their Events. No
// secret is in it: the configuration names secrets by file, and no Secret is read.
func SupportBundle(ctx context.Context, cfg Config, configFile string, out io.Writer) error {
	b := bundle.New(out, "tandem-"+cfg.Cluster, time.Now())
	report := &doctor.Report{}
	Doctor(ctx, cfg, report)
	about := fmt.Sprintf("tandem-synchronizer %s\n%s %s/%s\ncluster %s\n", Version, runtime.Version(), runtime.GOOS, runtime.GOARCH, cfg.Cluster)
	return errors.Join(
		b.Add("version.txt", []byte(about)),
		b.Collect("doctor.json", func() ([]byte, error) { return json.MarshalIndent(report.Findings(), "", "  ") }),
		b.Collect("config.yaml", func() ([]byte, error) { return os.ReadFile(configFile) }),
		b.Collect("readyz.txt", func() ([]byte, error) { return shown(ctx, cfg.Admin, "/readyz", "admin") }),
		b.Collect("metrics.txt", func() ([]byte, error) { return shown(ctx, cfg.Admin, "/metrics", "admin") }),
		b.Collect("goroutines.txt", func() ([]byte, error) { return shown(ctx, cfg.Debug, "/debug/pprof/goroutine?debug=1", "debug") }),
		cfg.listed(ctx, b),
		b.Close(),
	)
}

// shown asks a port of the synchronizer that runs in this Pod; what is not ready is an answer too.
func shown(ctx context.Context, address, path, key string) ([]byte, error) {
	if address == "" {
		return nil, fmt.Errorf("%s is not in the configuration", key)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(io.LimitReader(response.Body, 2*bundle.MaxFile))
}

// listed adds Syncs and their Events.
func (c *Config) listed(ctx context.Context, b *bundle.Bundle) error {
	config, err := connect(c.Kubeconfig)
	if err != nil {
		return b.Collect("syncs.json", func() ([]byte, error) { return nil, err })
	}
	config.Timeout = callTimeout
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	namespaces := c.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	events := schema.GroupVersionResource{Version: "v1", Resource: "events"}
	for _, namespace := range namespaces[:min(len(namespaces), bundle.MaxFiles/4)] {
		list := func(resource schema.GroupVersionResource, fields string) func() ([]byte, error) {
			return func() ([]byte, error) {
				found, err := client.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: listedMost, FieldSelector: fields})
				if err != nil {
					return nil, err
				}
				return found.MarshalJSON()
			}
		}
		err = errors.Join(err,
			b.Collect("syncs-"+namespace+".json", list(v1alpha1.GroupVersionResource, "")),
			b.Collect("events-"+namespace+".json", list(events, "involvedObject.kind="+v1alpha1.Kind)),
		)
	}
	return err
}

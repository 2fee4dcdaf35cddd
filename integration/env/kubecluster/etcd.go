package kubecluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/tandem-cd/tandem/integration/env/cut"
)

// maxAnswer bounds what is read of etcd's answer to one of our questions.
const maxAnswer = 1 << 20

// EtcdProxy is between the API server and etcd; nil without Options.BetweenEtcd.
func (c *Cluster) EtcdProxy() *cut.Proxy { return c.etcdProxy }

func (c *Cluster) etcdAddress() string {
	if c.etcdProxy != nil {
		return "http://" + c.etcdProxy.Address()
	}
	return c.etcdURL()
}

// KillEtcd ends etcd without warning. Its data stays: the operating system has
// what the process wrote, although etcd does not wait for the disk.
func (c *Cluster) KillEtcd() error {
	if c.attached != nil {
		return ErrAttached
	}
	c.etcd.Kill()
	return nil
}

// StartEtcd starts etcd after KillEtcd on the same port and data, and returns
// when it is ready.
func (c *Cluster) StartEtcd(ctx context.Context) (err error) {
	if c.attached != nil {
		return ErrAttached
	}
	if c.etcd, err = c.run(etcdName, c.etcdArgs()); err != nil {
		return err
	}
	return c.etcd.Ready(ctx, c.etcdReady)
}

// WipeEtcd kills the control plane, removes every object that there is, and
// starts it again: controllers that went on would act on what they remember.
// Keys and addresses stay.
func (c *Cluster) WipeEtcd(ctx context.Context) error {
	if c.attached != nil {
		return ErrAttached
	}
	c.controllers.Kill()
	c.apiserver.Kill()
	c.etcd.Kill()
	if err := os.RemoveAll(c.path("etcd")); err != nil {
		return err
	}
	if err := c.StartEtcd(ctx); err != nil {
		return err
	}
	if err := c.StartAPIServer(ctx); err != nil {
		return err
	}
	return c.startControllers(ctx)
}

// CompactEtcd has etcd forget every revision but the newest, as it does every
// five minutes by itself. A watch that is resumed from before is answered 410
// Gone once the API server has no memory of its own, see RestartAPIServer.
func (c *Cluster) CompactEtcd(ctx context.Context) error {
	if c.attached != nil {
		return ErrAttached
	}
	var status struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	if err := c.askEtcd(ctx, "/v3/maintenance/status", map[string]any{}, &status); err != nil {
		return err
	}
	if _, err := strconv.ParseUint(status.Header.Revision, 10, 64); err != nil {
		return fmt.Errorf("etcd's revision: %w", err)
	}
	return c.askEtcd(ctx, "/v3/kv/compaction", map[string]any{"revision": status.Header.Revision, "physical": true}, nil)
}

// askEtcd calls a method of etcd through its JSON gateway.
func (c *Cluster) askEtcd(ctx context.Context, method string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.etcdURL()+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := c.admin.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.Join(fmt.Errorf("etcd %s: %s", method, response.Status), errors.New(string(said)))
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(said, answer)
}

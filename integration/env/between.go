package env

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/tandem-cd/tandem/integration/env/cut"
)

// between puts a proxy in front of an address where the world's options ask for that, and returns where to dial.
func (w *World) between(address string, into **cut.Proxy) (string, error) {
	if !w.opts.Between {
		return address, nil
	}
	if *into != nil { // asked again, see Reinstall
		return (*into).Address(), nil
	}
	proxy, err := cut.Start(address)
	if err != nil {
		return "", err
	}
	*into = proxy
	w.proxies = append(w.proxies, proxy)
	return proxy.Address(), nil
}

// betweenURL does the same for a URL.
func (w *World) betweenURL(address string, into **cut.Proxy) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", address, err)
	}
	u.Host, err = w.between(u.Host, into)
	return u.String(), err
}

func (w *World) stopProxies() error {
	var errs []error
	for _, proxy := range w.proxies {
		errs = append(errs, proxy.Stop())
	}
	return errors.Join(errs...)
}

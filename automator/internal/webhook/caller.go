package webhook

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"time"
)

const (
	// maxSecrets bounds the secrets of all callers: a signed body goes through as many hashes, of which those of one body at a
	// time are at work.
	maxSecrets = 16
	// rereadEvery is how often secrets are read again.
	rereadEvery = 15 * time.Second
)

// Caller is somebody who may call.
type Caller struct {
	// Name stands in metrics and logs.
	Name string
	// Tokens are the secrets that it may show, or sign with: more than one while one takes the place of another.
	Tokens []string
	// Google identifies it as a push subscription of Pub/Sub, for gar and gcr, instead.
	Google Google
}

// Google is what stands in the tokens that Pub/Sub sends along.
type Google struct {
	// Audience is whom the tokens are for, as the subscription says it.
	Audience string
	// Email is the service account that the subscription pushes as.
	Email string
}

// secretsOf lists the secrets of callers, and the callers that have none but are known by Google.
func secretsOf(callers []Caller) (all secrets, known []Caller, err error) {
	names, texts := map[string]bool{}, map[string]bool{}
	for _, c := range callers {
		google := c.Google != Google{}
		switch {
		case c.Name == "" || names[c.Name]:
			return nil, nil, fmt.Errorf("the name %.100q of a caller is missing or taken", c.Name)
		case google && (c.Google.Audience == "" || c.Google.Email == ""):
			return nil, nil, fmt.Errorf("caller %.100q: audience and email of google go together", c.Name)
		case google == (len(c.Tokens) > 0):
			return nil, nil, fmt.Errorf("caller %.100q is known by tokens or by google, by one of them", c.Name)
		}
		names[c.Name] = true
		if google {
			known = append(known, c)
		}
		for _, text := range c.Tokens {
			if text == "" || texts[text] {
				return nil, nil, fmt.Errorf("caller %.100q: a token is empty, or another caller's", c.Name)
			}
			texts[text] = true
			all = append(all, secret{caller: c.Name, text: text, sum: sha256.Sum256([]byte(text))})
		}
	}
	switch {
	case len(all)+len(known) == 0:
		return nil, nil, errors.New("no webhook caller has a token; anybody could then make us ask registries and Git hosts")
	case len(all) > maxSecrets:
		return nil, nil, fmt.Errorf("%d tokens of webhook callers are more than %d", len(all), maxSecrets)
	}
	return all, known, nil
}

func (h *Hooks) keepReading(ctx context.Context) {
	again := time.NewTicker(rereadEvery)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
			h.readSecrets()
		}
	}
}

// readSecrets has secrets count as they are now. When they cannot be read, or not all at once may count, those before go on
// counting; that is told once.
func (h *Hooks) readSecrets() {
	callers, err := h.reread()
	var all secrets
	if err == nil {
		all, _, err = secretsOf(callers)
	}
	if err == nil {
		h.secrets.Store(&all)
		h.unread = ""
		return
	}
	if h.unread != err.Error() {
		h.unread = err.Error()
		h.deps.Failed(fmt.Errorf("read the secrets of webhook callers again: %w", err))
	}
}

// checkKeysURL refuses an address from which anybody in between could give keys.
func checkKeysURL(address string) error {
	at, err := url.Parse(address)
	if err != nil || at.Scheme != "https" || at.Host == "" || at.User != nil {
		return errors.New("the address of Google's keys is not https://")
	}
	return nil
}

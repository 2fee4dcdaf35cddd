package webhook

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
)

// maxSecrets bounds the secrets of all callers: a signed body goes through as many hashes.
const maxSecrets = 16

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

// checkKeysURL refuses an address from which anybody in between could give keys.
func checkKeysURL(address string) error {
	at, err := url.Parse(address)
	if err != nil || at.Scheme != "https" || at.Host == "" || at.User != nil {
		return errors.New("the address of Google's keys is not https://")
	}
	return nil
}

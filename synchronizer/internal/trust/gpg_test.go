package trust

import (
	"crypto"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/gitobject/gitobjecttest"
)

// gpgKey makes a key that begins at midnight.
func gpgKey(name string, life time.Duration) gitobjecttest.GPGKey {
	return gitobjecttest.NewGPGKey(name, midnight, life, packet.PubKeyAlgoEdDSA)
}

// signedByGPG is a history of one commit that changes a file, signed.
func signedByGPG(a gitobject.Algorithm, seen time.Time, sign func(payload []byte) []byte) *history {
	h := newHistory(a, []change{{set: set(config, "a: b"), seen: seen}})
	commit, err := gitobject.DecodeCommit(a, h.steps[0].Raw)
	if err != nil {
		panic(err)
	}
	commit.Signature = sign(commit.SignedPayload())
	raw := commit.Encode()
	h.steps[0] = Step{ID: h.store.Put(gitobject.TypeCommit, raw), Raw: raw, Seen: seen}
	return h
}

func byGPG(keys ...Keys) Config {
	return Config{Mode: Signed, Humans: []Principal{{Name: "ann", Keys: keys}, {Name: "ben", Keys: []Keys{{Key: gitobjecttest.NewKey("ben").Authorized()}}}}}
}

func TestGPG(t *testing.T) {
	t.Parallel()
	ann, short, eve := gpgKey("ann", 0), gpgKey("ann", time.Hour), gpgKey("ann", 0)
	revoked, encrypts := gpgKey("ann", 0), gitobjecttest.NewGPGKey("ann", midnight, 0, packet.PubKeyAlgoRSA)
	if err := revoked.RevokeKey(packet.KeySuperseded, "", &packet.Config{Time: func() time.Time { return midnight.Add(time.Hour) }}); err != nil {
		t.Fatal(err)
	}
	public := func(k gitobjecttest.GPGKey) Keys { return Keys{Key: k.Public()} }
	by := func(k gitobjecttest.GPGKey, shape func(*packet.Signature)) func([]byte) []byte {
		return func(payload []byte) []byte { return k.Sign(payload, k.PrivateKey, shape) }
	}
	at := func(after time.Duration) func(*packet.Signature) {
		return func(s *packet.Signature) { s.CreationTime = midnight.Add(after) }
	}
	hour := uint32(time.Hour.Seconds())
	ends := func(s *packet.Signature) { s.SigLifetimeSecs = &hour }
	tests := map[string]struct {
		reason string
		keys   Keys
		sign   func(payload []byte) []byte
		seen   time.Time
		says   string // empty: believed
	}{
		"Good":          {"a human's OpenPGP key", public(ann), by(ann, nil), time.Time{}, ""},
		"InTime":        {"before the key ends", public(short), by(short, at(time.Minute)), midnight.Add(time.Minute), ""},
		"Early":         {"before the key was made", public(ann), by(ann, at(-time.Second)), time.Time{}, "counts from"},
		"Expired":       {"after the key ended", public(short), by(short, at(time.Hour)), time.Time{}, "counts until"},
		"Backdated":     {"it says before, and came after", public(short), by(short, nil), midnight.Add(time.Hour), "first arrived"},
		"SignatureEnds": {"the signature itself ends", public(ann), by(ann, ends), midnight.Add(time.Hour), "first arrived"},
		"ConfiguredEnd": {"the administrator ends it earlier", Keys{Key: ann.Public(), Until: midnight.Add(time.Minute)}, by(ann, at(time.Minute)), time.Time{}, "counts until"},
		"Revoked":       {"by its owner, whenever and why ever", public(revoked), by(revoked, nil), time.Time{}, "is revoked"},
		"RevokedHere":   {"by the administrator", Keys{Key: ann.Public(), Revoked: true}, by(ann, nil), time.Time{}, "is revoked"},
		"Stranger":      {"the name and address in a key mean nothing", public(ann), by(eve, nil), time.Time{}, "nobody here has"},
		"Subkey": {"a subkey that its owner made for something else", public(encrypts), func(payload []byte) []byte {
			return encrypts.Sign(payload, encrypts.Subkeys[0].PrivateKey, nil)
		}, time.Time{}, "may not sign"},
		"OtherBytes": {"a signature of another commit", public(ann), func(payload []byte) []byte {
			return ann.Sign(append(payload, '\n'), ann.PrivateKey, nil)
		}, time.Time{}, "not valid"},
		"WeakHash": {"SHA-1 can be made to collide", public(ann), by(ann, func(s *packet.Signature) { s.Hash = crypto.SHA1 }), time.Time{}, "not valid"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy, signatures := mustPolicy(t, byGPG(tc.keys)), NewSignatures(8)
			for _, a := range []gitobject.Algorithm{gitobject.SHA1, gitobject.SHA256} {
				h := signedByGPG(a, tc.seen, tc.sign)
				for range 2 { // what is remembered says the same
					request := h.request(policy)
					request.Signatures = signatures
					verdict, err := Verify(t.Context(), request)
					switch {
					case err != nil:
						t.Fatal(err)
					case tc.says == "" && verdict.Refusal != nil:
						t.Errorf("%s: refused: %v", tc.reason, verdict.Refusal)
					case tc.says != "" && (verdict.Refusal == nil || !strings.Contains(verdict.Refusal.Reason, tc.says)):
						t.Errorf("%s: %v, want it refused with %q", tc.reason, verdict.Refusal, tc.says)
					}
				}
			}
		})
	}
}

// What one policy found out about a signature says nothing to another one, which has another key of the same owner.
func TestGPGMemoryIsByKey(t *testing.T) {
	t.Parallel()
	ann, eve := gpgKey("ann", 0), gpgKey("ann", 0)
	h := signedByGPG(gitobject.SHA1, time.Time{}, func(payload []byte) []byte { return eve.Sign(payload, eve.PrivateKey, nil) })
	signatures := NewSignatures(8)
	for key, refused := range map[string]bool{eve.Public(): false, ann.Public(): true} {
		request := h.request(mustPolicy(t, byGPG(Keys{Key: key})))
		request.Signatures = signatures
		if verdict, err := Verify(t.Context(), request); err != nil || (verdict.Refusal != nil) != refused {
			t.Errorf("%v, %v, want refused: %t", verdict.Refusal, err, refused)
		}
	}
}

func TestGPGKeysOfAPolicy(t *testing.T) {
	t.Parallel()
	ann := gpgKey("ann", 0)
	weak := strings.Replace(ann.Public(), "PUBLIC", "PRIVATE", 2)
	for name, keys := range map[string][]Keys{
		"Twice":   {{Key: ann.Public()}, {Key: ann.Public()}},
		"Private": {{Key: ann.Private()}},
		"Broken":  {{Key: weak}},
		"Message": {{Key: "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nssh-ed25519 AAAA\n"}},
	} {
		if _, err := NewPolicy(byGPG(keys...)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

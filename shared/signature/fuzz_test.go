package signature_test

import (
	"testing"

	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/signature/signaturetest"
)

// FuzzVerify gives anything as a signature: nothing that the key has not signed is accepted, and what it has signed is, beside
// anything.
func FuzzVerify(f *testing.F) {
	key, another := signaturetest.ECDSA(f), signaturetest.ECDSA(f)
	good := key.Simple(signaturetest.Payload(image()))
	statement := signaturetest.Statement(image(), signaturetest.SignaturePredicate, "{}")
	for _, item := range []signature.Item{
		another.Simple(signaturetest.Payload(image())), another.Bundle(statement), another.Envelope(statement), key.Simple(signaturetest.Payload(other())),
	} {
		f.Add(byte(item.Kind), item.Body, item.Annotations["dev.cosignproject.cosign/signature"], "", "")
	}
	f.Add(byte(signature.SimpleSigning), good.Body, "AA==", `{"Payload":{"body":"e30=","logID":"00"}}`, `{"SignedRFC3161Timestamp":"AA=="}`)
	rule, err := signature.New(signature.Config{Keys: []string{key.Public}})
	if err != nil {
		f.Fatal(err)
	}
	v, err := signature.Rules{rule}.With(signature.Trust{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte, signed, log, stamp string) {
		item := signature.Item{Kind: signature.Kind(kind), Body: body, Annotations: map[string]string{
			"dev.cosignproject.cosign/signature": signed, "dev.sigstore.cosign/bundle": log, "dev.sigstore.cosign/rfc3161timestamp": stamp,
		}}
		if got := v.Verify(image(), signature.Material{Items: []signature.Item{item}}); got.Kept || got.Reason == "" {
			t.Errorf("Verify(...): %+v", got)
		}
		if got := v.Verify(image(), signature.Material{Items: []signature.Item{good, item}}); !got.Kept {
			t.Errorf("Verify(...): %s", got.Reason)
		}
	})
}

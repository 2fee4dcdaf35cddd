package credential_test

import (
	"testing"

	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
)

func FuzzParseToken(f *testing.F) {
	f.Add(credential.NewToken(credential.KeyHash{1}).String())
	f.Add("tandem-token-1..")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := credential.ParseToken(text)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("ParseToken(%q): %v is no Invalid fault", text, err)
			}
			return
		}
		again, err := credential.ParseToken(token.String())
		if err != nil || again != token {
			t.Errorf("ParseToken(%q) prints as %q, which reads as another", text, token)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	der, err := credential.NewRequest(newKey(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, der []byte) {
		key, err := credential.ParseRequest(der)
		if (err == nil) != (key != nil) || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("ParseRequest(%x): %v, %v", der, key, err)
		}
	})
}

func FuzzParsePass(f *testing.F) {
	key := newKey(f)
	cert := certify(f, key, credential.NewSerial(now))
	text, err := credential.SignPass(key, cert, audience, method, now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add("e30.e30.")
	f.Fuzz(func(t *testing.T, text string) {
		pass, err := credential.ParsePass(text)
		if err != nil {
			if !fault.Is(err, fault.Unauthorized) {
				t.Errorf("ParsePass(%q): %v is no Unauthorized fault", text, err)
			}
			return
		}
		if err := pass.Check([]string{audience}, method, now); err == nil && pass.Audience != audience {
			t.Errorf("ParsePass(%q) is good for another audience", text)
		}
	})
}

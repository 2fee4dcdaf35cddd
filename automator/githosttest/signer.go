package githosttest

import (
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/gitobject/gitobjecttest"
)

// keyAge is how long before it is needed a key was made, since clocks differ.
const keyAge = time.Hour

// NewSigner makes a key of OpenPGP, as GitHub has one for all that it commits itself, and returns what signs with it, and
// its public half.
func NewSigner(now time.Time) (gitobject.Signer, string, error) {
	key := gitobjecttest.NewGPGKey("GitHub", now.Add(-keyAge), 0, packet.PubKeyAlgoEdDSA)
	signer, err := gitobject.ParseGPGSigner([]byte(key.Private()), now)
	return signer, key.Public(), err
}

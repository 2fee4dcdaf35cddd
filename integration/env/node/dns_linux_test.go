package node

import (
	"context"
	"net"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// web is the only Service.
func web(_ context.Context, namespace, name string) net.IP {
	if namespace == "shop" && name == "web" {
		return net.IPv4(10, 0, 0, 7).To4()
	}
	return nil
}

func TestAnswerName(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason    string
		name      string
		kind      dnsmessage.Type
		want      dnsmessage.RCode
		addresses int
	}{
		"Service":   {reason: "It has an address.", name: "web.shop.svc.cluster.local.", kind: dnsmessage.TypeA, addresses: 1},
		"UpperCase": {reason: "Names have no case.", name: "Web.SHOP.svc.Cluster.local.", kind: dnsmessage.TypeA, addresses: 1},
		"Version6":  {reason: "The name is there, an address of that kind is not; a client must not take it for unknown.", name: "web.shop.svc.cluster.local.", kind: dnsmessage.TypeAAAA},
		"Unknown":   {reason: "There is no such Service.", name: "api.shop.svc.cluster.local.", kind: dnsmessage.TypeA, want: dnsmessage.RCodeNameError},
		"Search":    {reason: "Resolvers try their search domains first.", name: "web.shop.svc.shop.svc.cluster.local.", kind: dnsmessage.TypeA, want: dnsmessage.RCodeNameError},
		"Elsewhere": {reason: "Nothing outside is known.", name: "example.com.", kind: dnsmessage.TypeA, want: dnsmessage.RCodeNameError},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			question := dnsmessage.Question{Name: dnsmessage.MustNewName(tc.name), Type: tc.kind, Class: dnsmessage.ClassINET}
			query := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{question}}
			packed, err := query.Pack()
			if err != nil {
				t.Fatal(err)
			}
			raw, err := answerName(t.Context(), packed, web)
			if err != nil {
				t.Fatalf("answerName(%s): %v", tc.name, err)
			}
			var got dnsmessage.Message
			if err := got.Unpack(raw); err != nil {
				t.Fatal(err)
			}
			if got.ID != 7 || !got.Response || got.RCode != tc.want || len(got.Answers) != tc.addresses {
				t.Errorf("answerName(%s): %+v, want %v and %d addresses. %s", tc.name, got, tc.want, tc.addresses, tc.reason)
			}
		})
	}
}

func TestAnswerNoQuestion(t *testing.T) {
	t.Parallel()
	for _, query := range [][]byte{nil, {1, 2, 3}, make([]byte, 12)} {
		if answer, err := answerName(t.Context(), query, web); err == nil {
			t.Errorf("answerName(%v): %v, want an error", query, answer)
		}
	}
}

package node

import (
	"context"
	"net"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	clusterDomain = "cluster.local"
	// maxQuery is the longest question that is read, in bytes.
	maxQuery = 512
	// lookupTimeout bounds the API server's answer.
	lookupTimeout = 5 * time.Second
	// timeToLive is how many seconds an answer is good for.
	timeToLive = 5
)

// lookup returns the address of a Service, or nil when there is none.
type lookup func(ctx context.Context, namespace, name string) net.IP

// services asks the API server.
func services(client kubernetes.Interface) lookup {
	return func(ctx context.Context, namespace, name string) net.IP {
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		service, err := client.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil
		}
		return net.ParseIP(service.Spec.ClusterIP).To4()
	}
}

// answerNames answers questions until the connection is closed.
func answerNames(ctx context.Context, conn net.PacketConn, find lookup) {
	buffer := make([]byte, maxQuery)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		if answer, err := answerName(ctx, buffer[:n], find); err == nil { // else it was no question
			_, _ = conn.WriteTo(answer, from) // who asked asks again
		}
	}
}

// answerName answers one question, such as for web.shop.svc.cluster.local.
func answerName(ctx context.Context, query []byte, find lookup) ([]byte, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(query)
	if err != nil {
		return nil, err
	}
	question, err := parser.Question()
	if err != nil {
		return nil, err
	}
	answer := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: header.ID, Response: true, Authoritative: true,
			RecursionDesired: header.RecursionDesired, RecursionAvailable: true, RCode: dnsmessage.RCodeNameError,
		},
		Questions: []dnsmessage.Question{question},
	}
	if address := find.name(ctx, question.Name.String()); address != nil {
		answer.RCode = dnsmessage.RCodeSuccess
		if question.Type == dnsmessage.TypeA {
			answer.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: timeToLive},
				Body:   &dnsmessage.AResource{A: [4]byte(address)},
			}}
		}
	}
	return answer.Pack()
}

// name finds NAME.NAMESPACE.svc.cluster.local, and nothing else.
func (find lookup) name(ctx context.Context, asked string) net.IP {
	service, ours := strings.CutSuffix(strings.ToLower(asked), ".svc."+clusterDomain+".")
	name, namespace, two := strings.Cut(service, ".")
	if !ours || !two || strings.Contains(namespace, ".") {
		return nil
	}
	return find(ctx, namespace, name)
}

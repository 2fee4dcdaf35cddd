package node

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
)

// egressConfig has the API server ask a proxy for every connection to nodes, Pods
// and Services: https://kubernetes.io/docs/tasks/extend-kubernetes/setup-konnectivity.
const egressConfig = `apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
  - name: cluster
    connection: {proxyProtocol: HTTPConnect, transport: {uds: {udsName: %q}}}
`

// connect answers a request for a connection to an address inside.
func (n *Node) connect(ctx context.Context, from net.Conn) (net.Conn, error) {
	request, err := http.ReadRequest(bufio.NewReader(from)) // its sender says nothing more before the answer
	if err != nil {
		return nil, err
	}
	to, err := n.Dial(ctx, "tcp", request.Host)
	if err != nil {
		fmt.Fprintf(from, "HTTP/1.1 %d %s\r\n\r\n%v\n", http.StatusBadGateway, http.StatusText(http.StatusBadGateway), err)
		return nil, err
	}
	if _, err := io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return nil, err
	}
	return to, nil
}

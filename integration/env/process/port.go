package process

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

const (
	loopback = "127.0.0.1"
	// Ports are chosen below the range that kernels give to outgoing
	// connections: a client that redials a killed API server would sooner or
	// later be given its port, and be connected to itself.
	lowestPort, highestPort = 20000, 32000
	// portTries ends the search on a machine that refuses every port.
	portTries = 1000
)

var errNoPort = errors.New("no free loopback port")

// FreePorts finds n ports nobody listens on now. They are held until all are
// found, so that they differ.
func FreePorts(ctx context.Context, n int) ([]string, error) {
	var ports []string
	for range portTries {
		if len(ports) == n {
			return ports, nil
		}
		port := strconv.Itoa(lowestPort + rand.IntN(highestPort-lowestPort))
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(loopback, port))
		if err != nil {
			continue
		}
		defer listener.Close()
		ports = append(ports, port)
	}
	return nil, errNoPort
}

package rpc

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"

	"github.com/tandem-cd/tandem/shared/fault"
)

func TestACallerHasABoundedNumberOfCalls(t *testing.T) {
	t.Parallel()
	q := &quota{open: map[string]int{}}
	mallory := WithCaller(t.Context(), Identity{Role: RoleCluster, Name: "mallory"})
	var leave func()
	for range MaxCalls {
		var err error
		if leave, err = q.enter(mallory); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := q.enter(mallory); !fault.Is(err, fault.Conflict) {
		t.Errorf("call %d: got %v, want Conflict", MaxCalls+1, err)
	}
	if _, err := q.enter(WithCaller(t.Context(), Identity{Role: RoleCluster, Name: "dev"})); err != nil {
		t.Errorf("a neighbour's call: %v", err)
	}
	leave()
	if _, err := q.enter(mallory); err != nil {
		t.Errorf("after one ended: %v", err)
	}
}

func TestTheOldestConnectionMakesRoom(t *testing.T) {
	t.Parallel()
	const most = 3
	c := newCrowd(most)
	var near, far [most + 1]net.Conn
	for i := range near {
		near[i], far[i] = net.Pipe()
		t.Cleanup(func() { near[i].Close(); far[i].Close() })
		c.enter(near[i])
	}
	if _, err := near[0].Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the oldest: got %v, want a deadline that has passed", err)
	}
	for i := 1; i <= most; i++ {
		go func() { _, _ = far[i].Write([]byte{1}) }()
		if _, err := near[i].Read(make([]byte, 1)); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
}

func TestWhoLeftMakesRoom(t *testing.T) {
	t.Parallel()
	c := newCrowd(1)
	first, other := net.Pipe()
	t.Cleanup(func() { first.Close(); other.Close() })
	leave := c.enter(first)
	leave()
	leave() // twice changes nothing
	if !c.empty() {
		t.Error("the crowd is not empty")
	}
	second, third := net.Pipe()
	t.Cleanup(func() { second.Close(); third.Close() })
	c.enter(second)
	go func() { _, _ = other.Write([]byte{1}) }()
	if _, err := first.Read(make([]byte, 1)); err != nil {
		t.Errorf("who left was hung up on: %v", err)
	}
}

func TestHangupOutsideOfACallDoesNothing(t *testing.T) {
	t.Parallel()
	Hangup(context.Background())
}

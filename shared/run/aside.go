package run

import (
	"fmt"
	"runtime/debug"
)

// Aside calls fn beside the caller and returns where its result will be. It is for what cannot be told to stop, such as
// reading a stream that ends after its handler; the caller MUST see to it that fn ends. A panic of fn is its result.
func Aside(fn func() error) <-chan error {
	ended := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				ended <- fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		ended <- fn()
	}()
	return ended
}

package run

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// Elsewhere calls fn on a stack of its own and returns when it has. A panic of fn is the caller's.
//
// A goroutine keeps at least a quarter of the deepest stack that it ever needed. Where thousands wait for most of their
// life, what goes deep now and then is done elsewhere.
func Elsewhere(fn func()) {
	var panicked any
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				panicked = fmt.Errorf("%v\n%s", p, debug.Stack())
			}
		}()
		fn()
	})
	wg.Wait()
	if panicked != nil {
		panic(panicked)
	}
}

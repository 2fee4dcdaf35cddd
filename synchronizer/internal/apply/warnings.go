package apply

import (
	"context"
	"slices"
	"sync"
)

// notebook holds what the API server warns of while a step is taken. It travels
// in the context of the requests: that is where client-go offers to tell it.
type notebook struct {
	mu    sync.Mutex
	texts []string
}

type notebookKey struct{}

func withNotebook(ctx context.Context) (context.Context, *notebook) {
	book := &notebook{}
	return context.WithValue(ctx, notebookKey{}, book), book
}

// all returns the warnings so far, each once.
func (n *notebook) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.texts
}

// warningHandler is told by client-go of every warning.
type warningHandler struct{}

// HandleWarningHeaderWithContext notes a warning; 299 is the only code in use.
func (warningHandler) HandleWarningHeaderWithContext(ctx context.Context, code int, _ string, text string) {
	const miscellaneous = 299
	book, ok := ctx.Value(notebookKey{}).(*notebook)
	if !ok || code != miscellaneous || text == "" {
		return
	}
	book.mu.Lock()
	defer book.mu.Unlock()
	if !slices.Contains(book.texts, text) {
		book.texts = append(book.texts, text)
	}
}

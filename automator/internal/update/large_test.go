package update_test

import (
	"fmt"
	"testing"
	"time"
)

// Who lost looks at the branch right before the next push, and not before the wait for it.
func TestLostRaceLooksBeforeThePush(t *testing.T) {
	t.Parallel()
	play(t, shop(), func(s *scene) {
		s.pushes.then(func(push func() error) error {
			s.foreign("meanwhile", map[string]string{"README.md": "theirs\n"})
			return push()
		})
		s.release(api, "1.1.0")
		s.foreign("in the wait", map[string]string{"README.md": "theirs again\n"})
		<-time.After(time.Second)
		s.titled("meanwhile", "in the wait", "shop: api 1.1.0 to dev")
		if tried := s.pushes.attempts(); tried != 2 {
			t.Errorf("%d pushes, want 2", tried)
		}
	})
}

// Of a large environment only what changed is read again.
func TestOneFileOfManyCostsOneFile(t *testing.T) {
	t.Parallel()
	files := shop()
	for i := range 1000 {
		files[fmt.Sprintf("env/dev/%d/%d.yaml", i/100, i%100)] = "kind: ConfigMap\n"
	}
	play(t, files, func(s *scene) {
		before := s.reads
		s.person("one of them", map[string]string{"env/dev/5/55.yaml": "kind: Secret\n"})
		s.release(api, "1.1.0")
		s.titled("one of them", "shop: api 1.1.0 to dev")
		const most = 100 // the trees on the way, again and again
		if reads := s.reads - before; reads > most {
			t.Errorf("%d objects were read", reads)
		}
	})
}

// What a survey knows of the tree before is right for the one after, whatever became of a file.
func TestFilesComeAndGo(t *testing.T) {
	t.Parallel()
	play(t, shop(), func(s *scene) {
		s.person("moved", map[string]string{"env/dev/api.yaml": "", "env/dev/more/api.yaml": manifest("api", pinned(api, "1.0.0"))})
		s.release(api, "1.1.0")
		s.has(map[string]string{"env/dev/more/api.yaml": pinned(api, "1.1.0")})
		s.person("gone", map[string]string{"env/dev/more/api.yaml": ""})
		s.release(api, "1.2.0")
		s.person("back", map[string]string{"env/dev/api.yaml": manifest("api", pinned(api, "1.1.0"))})
		s.has(map[string]string{"env/dev/api.yaml": pinned(api, "1.2.0")})
	})
}

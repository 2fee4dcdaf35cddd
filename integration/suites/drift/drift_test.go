package drift_test

import (
	"os"
	"testing"

	"github.com/tandem-cd/tandem/integration/suites/story"
)

func TestMain(m *testing.M) { os.Exit(story.Main(m)) }

func TestStories(t *testing.T) { story.Run(t) }

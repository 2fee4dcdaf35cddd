package chaos

import "slices"

// Stories are all of them, in the order in which they are told.
func Stories() []Story {
	return slices.Concat(networkStories(), killStories(), controlStories(),
		gitStories(), registryStories(), diskStories(), recoveryStories(), clockStories())
}

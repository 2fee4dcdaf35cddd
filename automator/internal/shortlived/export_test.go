package shortlived

// What tests wait for.
const (
	Pause       = pause
	RenewBefore = renewBefore
)

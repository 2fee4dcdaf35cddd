package shortlived

// What tests wait for.
const (
	IssueTimeout = issueTimeout
	Patience     = patience
	Pause        = pause
	RenewBefore  = renewBefore
)

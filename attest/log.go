package attest

// Chain is the part of a log that is about one plan, verified against the
// policy's log key and held to its witnesses. nil is a plan without a log.
type Chain struct{}

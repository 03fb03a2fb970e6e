//go:build !race

package surface

// slower is how many times as much a test's limits of time and memory are; the
// race detector has other ones.
const slower = 1

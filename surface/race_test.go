//go:build race

package surface

// slower is how many times as much time and memory the race detector may take
// as the program alone.
const slower = 10

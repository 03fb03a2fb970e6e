// Package mutant says which of the numbered checks is switched off.
package mutant

import (
	"maps"
	"os"
	"slices"
	"strconv"
)

// Active is the number of the mutant that runs; 0 is the program as it is. A test
// binary has one for all its life.
var Active, _ = strconv.Atoi(os.Getenv("REBUILD_MUTANT"))

// Hits records which numbers are asked for, unless it is nil.
var Hits map[int]bool

// Is says whether a mutant runs.
func Is(n int) bool {
	if Hits != nil {
		Hits[n] = true
	}
	return n == Active
}

// Not says that it does not.
func Not(n int) bool { return !Is(n) }

// List is all but one of a list's elements, if a mutant of it runs. Their
// numbers follow each other.
func List[E any](first int, all ...E) []E {
	for i := range all {
		if Is(first + i) {
			return slices.Delete(slices.Clone(all), i, i+1)
		}
	}
	return all
}

// Map is the same of a map whose keys stand in order.
func Map[K comparable, V any](first int, all map[K]V, keys ...K) map[K]V {
	for i, k := range keys {
		if Is(first + i) {
			all = maps.Clone(all)
			delete(all, k)
		}
	}
	return all
}

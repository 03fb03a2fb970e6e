package attest

import "testing"

// What is remembered of small things is bounded in number and bytes, and what is
// large is not remembered at all.
func TestMemoryIsBounded(t *testing.T) {
	var few memory[int, string]
	for i := range 3 * maxEnvelopes {
		few.keep(i, "x", 1)
		if len(few.all) > maxEnvelopes || few.size != len(few.all) || few.all[i] != "x" {
			t.Fatalf("%d are remembered, %d bytes", len(few.all), few.size)
		}
	}
	var large memory[int, string]
	const most = maxRemembered / 8
	for i := range 20 {
		large.keep(i, "x", most)
		if want := (i%8 + 1); len(large.all) != want || large.size != want*most {
			t.Fatalf("%d are remembered, %d bytes, want %d", len(large.all), large.size, want)
		}
	}
	before := len(large.all)
	if large.keep(99, "x", most+1); len(large.all) != before || large.all[99] != "" {
		t.Error("what is too large is remembered")
	}
}

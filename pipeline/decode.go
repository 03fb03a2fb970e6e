package pipeline

import (
	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// CheckLock says whether data is a rebuild.lock that can be read, in a version
// of its window, and is in its one order.
func CheckLock(file string, data []byte) error {
	var l Lock
	if err := document.Decode(file, data, document.Lock, &l); err != nil {
		return err
	}
	if !l.sorted() {
		return fault.New(fault.Semantic, "it is not sorted, or pins one name twice").At(file, 0).
			WithHint("run rebuild lock and review the change")
	}
	return nil
}

package index

import "rebuild/internal/fault"

// CheckConfig says whether data is a config.json that can be read, in a
// version of its window.
func CheckConfig(file string, data []byte) error {
	_, err := decodeConfig(data)
	return fault.In(err, file)
}

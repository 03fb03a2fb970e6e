package engine

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"rebuild/internal/decompress"
)

// runXZ is the `xz` that the engine's PATH holds. BuildKit's ADD decompresses
// .xz archives with a program from PATH, outside of every sandbox; this one
// decodes stdin to stdout in Go, so no program of the host is ever asked.
func runXZ([]string) int {
	if err := decodeXZ(os.Stdout, os.Stdin); err != nil {
		fmt.Fprintf(os.Stderr, "xz: %v\n", err)
		return 1
	}
	return 0
}

func decodeXZ(w io.Writer, r io.Reader) error {
	decoder, done, err := decompress.Open(decompress.XZ, bufio.NewReader(r))
	if err != nil {
		return err
	}
	defer done()
	_, err = io.Copy(w, decoder)
	return err
}

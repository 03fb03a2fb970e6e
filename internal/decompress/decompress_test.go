package decompress

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"testing"

	"github.com/ulikunitz/xz"

	"rebuild/internal/fault"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCause(t testing.TB, err error, cause string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != fault.Structure || f.Details["cause"] != cause {
		t.Fatalf("got %v, want %s", err, cause)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	must(t, err)
	return b
}

func xzOf(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	must(t, err)
	_, err = w.Write(content)
	must(t, errors.Join(err, w.Close()))
	return b.Bytes()
}

// A stream of tiny xz blocks that each ask for a large dictionary is stopped,
// although each alone is small enough.
func TestXZDictionaryBudget(t *testing.T) {
	stream := []byte("\xfd7zXZ\x00\x00\x00\xff\x12\xd9\x41")
	block := []byte{2, 0, 0x21, 1, 26, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}[:12]
	for range 20 { // 26 is 32 MiB
		stream = append(append(stream, block...), 0, 0, 0, 0)
	}
	_, err := io.Copy(io.Discard, newXZGuard(bytes.NewReader(stream)))
	wantCause(t, err, "content: window")
}

// The guard must understand what real writers make, or it would be blind.
func TestXZGuardSeesTheEnd(t *testing.T) {
	content := bytes.Repeat([]byte("some text that repeats, "), 100_000)
	for _, check := range []byte{xz.CRC32, xz.CRC64, xz.SHA256, xz.None} {
		var out bytes.Buffer
		w, err := xz.WriterConfig{CheckSum: check, NoCheckSum: check == xz.None, BlockSize: 1 << 20}.NewWriter(&out)
		must(t, err)
		w.Write(content)
		must(t, w.Close())
		g := newXZGuard(bytes.NewReader(append(out.Bytes(), out.Bytes()...)))
		r, err := xz.NewReader(g)
		must(t, err)
		n, err := io.Copy(io.Discard, r)
		if err != nil || n != int64(2*len(content)) || g.blind || g.asked == 0 || g.skip != 0 || len(g.buf) != 0 {
			t.Errorf("check %d: %d bytes, %v, guard %+v", check, n, err, g)
		}
	}
}

// The guard changes nothing that passes through it, however it is cut.
func FuzzXZGuard(f *testing.F) {
	f.Add(xzOf(f, []byte("text")), 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		g := newXZGuard(bytes.NewReader(b))
		got := make([]byte, 0, len(b))
		buf := make([]byte, 1+max(0, cut%64))
		for {
			n, err := g.Read(buf)
			got = append(got, buf[:n]...)
			if err == io.EOF && bytes.Equal(got, b) {
				return
			}
			if err != nil {
				wantCause(t, err, "content: window")
				return
			}
		}
	})
}

func TestXZDictionary(t *testing.T) {
	for hexed, want := range map[string]int64{
		"00210100":         4 << 10,
		"00210101":         6 << 10,
		"00210116":         8 << 20,
		"00210128":         4 << 30,
		"c08001ff01210116": 8 << 20, // with both sizes
		"40210121":         0,       // a size that is the filter's id
		"4080":             0,
		"4080808080":       0,
		"01210116":         0, // two filters
		"00040100":         0, // BCJ
		"00210200":         0,
		"00210129":         0,
		"0021":             0,
	} {
		if got, ok := xzDictionary(unhex(t, hexed)); got != want || ok != (want != 0) {
			t.Errorf("%s: %d, %v, want %d", hexed, got, ok, want)
		}
	}
}

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// vsaOptions are the flags by which a judging command signs what it found, as a
// SLSA verification summary: whether the verdict is met or a dissent. Where it
// is neither there is nothing to say and nothing is written.
type vsaOptions struct {
	file     string
	key      string
	verifier string
	signer   attest.Signer // of key, once it is read
}

func (o *vsaOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.file, "vsa", "", "new file for a SLSA verification summary of the verdict, also of a dissent")
	f.StringVar(&o.key, "key", "", "verifier's key file, to sign the summary")
	f.StringVar(&o.verifier, "verifier", "", "verifier's name in the summary")
}

// prepareVSA refuses what would keep the summary from being written before
// anything is judged, and reads the key. A summary says what holds when it is
// signed, so there is none as of another time.
func (a *app) prepareVSA(o *vsaOptions, asOf string) error {
	switch {
	case o.file == "" && o.key == "" && o.verifier == "":
		return nil
	case o.file == "" || o.key == "" || o.verifier == "":
		return fault.New(fault.Usage, "--vsa, --key and --verifier go together").WithHint("--vsa FILE --key KEY --verifier NAME")
	case o.file == "-":
		return fault.New(fault.Usage, "the summary needs a file of its own").WithHint("--vsa FILE")
	case asOf != "":
		return fault.New(fault.Usage, "a summary can not be signed as of %s", asOf).WithHint("leave out --at, or --vsa")
	}
	if err := o.free(); err != nil {
		return err
	}
	signer, err := a.readKey(o.key)
	if err != nil {
		return err
	}
	o.signer = signer
	return nil
}

// free refuses a file that is there.
func (o *vsaOptions) free() error {
	switch _, err := os.Lstat(o.file); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return unwritable("--vsa", err)
	}
	return thereAlready(o.file)
}

func (o *vsaOptions) by() attest.Verifier {
	return attest.Verifier{Name: o.verifier, Version: version}
}

// writeVSA signs and writes the summary that summarise returns, if one was
// asked for and verdict, the error of the judging command, is nil or DISSENT.
// A crash leaves all of the file or none of it.
func (o *vsaOptions) writeVSA(verdict error, summarise func() ([]byte, error)) (*vsaResult, error) {
	if o.signer == nil || verdict != nil && fault.CodeOf(verdict) != fault.Dissent {
		return nil, nil
	}
	payload, err := summarise()
	if err != nil {
		return nil, err
	}
	signed, err := attest.Sign(payload, o.signer)
	if err != nil {
		return nil, err
	}
	e, err := attest.ParseEnvelope(o.file, signed)
	if err != nil {
		return nil, err
	}
	said, err := attest.OpenVSA(e, o.by().ID(), o.signer.Public())
	if err != nil {
		return nil, err
	}
	if err := o.free(); err != nil {
		return nil, err
	}
	if err := durable.WriteFile(durable.OS{}, o.file, signed); err != nil {
		return nil, unwritable("--vsa", err)
	}
	return &vsaResult{o.file, e.Digest(), said.Result, said.Levels}, nil
}

// vsaResult is the summary that was written.
type vsaResult struct {
	File      string       `json:"file"`
	Statement store.Digest `json:"statement"`
	Result    string       `json:"result"`
	Levels    []string     `json:"levels"`
}

func (r *vsaResult) Print(out io.Writer) {
	if r != nil {
		fmt.Fprintf(out, "summary %s (%s) in %s\n", r.Result, strings.Join(r.Levels, ", "), oneLine(r.File))
	}
}

// first returns what a judging command ends with. That a summary could not be
// written must not hide a dissent, and must not be hidden by it.
func (a *app) first(verdict, unwritten error) error {
	if verdict == nil {
		return unwritten
	}
	if unwritten != nil {
		fmt.Fprintf(a.stderr, "rebuild: no summary was written: %s\n", oneLine(unwritten.Error()))
	}
	return verdict
}

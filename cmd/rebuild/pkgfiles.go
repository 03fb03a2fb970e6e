package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/folder"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Looking into a package: its inventory, once everything in it was compared.

func (a *app) pkgFilesCommand() *cobra.Command {
	var format string
	c := a.verb("files DIR|ARCHIVE", "List the files of a package, after comparing each with its inventory",
		`  rebuild pkg files out/hello
  rebuild pkg files hello-0.1.0.tar --format ipm`, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) (result, error) {
			if format != "text" && format != "ipm" {
				return nil, fault.New(fault.Usage, "--format %s is neither text nor ipm", format).WithHint("leave it out for text")
			}
			doc, report, err := a.inventory(ctx, args[0])
			if err != nil {
				return report, err
			}
			if format == "ipm" {
				return newIPM(doc), nil
			}
			return filesResult{doc}, nil
		})
	c.Flags().StringVar(&format, "format", "text", "text, or ipm: one JSON document with timeStamp, hash, totalFiles and files")
	return c
}

// failedFiles is the result where files differ.
type failedFiles struct{ packageReport }

func (r *failedFiles) Print(out io.Writer)  { r.printFailures(out) }
func (r *failedFiles) base() *packageReport { return &r.packageReport }

// inventory returns the inventory of a folder or archive that is as it says.
func (a *app) inventory(ctx context.Context, path string) (*attest.FilesDocument, result, error) {
	if !isFolder(path) {
		raw, err := a.readInput(path, attest.MaxArchive)
		if err != nil {
			return nil, nil, err
		}
		pkg, err := attest.OpenPackage(path, raw)
		if err != nil {
			return nil, nil, mistaken(err, anArchive, path, raw)
		}
		doc := pkg.Files()
		return &doc, nil, nil
	}
	f, err := folder.Read(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	raw, err := f.Content(attest.FilesFile, document.Files.MaxBytes)
	if err != nil {
		return nil, nil, hinted(err, "build it with rebuild pkg build --include-manifest")
	}
	doc, err := attest.DecodeFiles(attest.FilesFile, raw)
	if err != nil {
		return nil, nil, err
	}
	r := &failedFiles{packageReport{Folder: path, State: folder.Failed}}
	if r.Failures, err = f.CompareInventory(doc); err != nil {
		return nil, r, listed(r.base(), err)
	}
	return doc, nil, nil
}

// hinted gives an error that has no hint one.
func hinted(err error, hint string) error {
	if f := asFault(err); f != nil && f.Hint == "" {
		return f.WithHint("%s", hint)
	}
	return err
}

type filesResult struct{ *attest.FilesDocument }

func (r filesResult) Print(out io.Writer) {
	for _, f := range r.Files {
		what := string(f.Hash)
		if f.Link != "" {
			what = oneLine(f.Link)
		}
		fmt.Fprintf(out, "%s %4s %s %s\n", f.Type, f.Mode, orDefault(what, "-"), oneLine(f.Path))
	}
}

// ipmFiles is the inventory as ipm shows it: files alone, hashes spelled
// SHA256:HEX, the time with microseconds.
type ipmFiles struct {
	TimeStamp  string    `json:"timeStamp"`
	Hash       string    `json:"hash"`
	TotalFiles int       `json:"totalFiles"`
	Files      []ipmFile `json:"files"`
}

type ipmFile struct {
	Path string `json:"path"`
	Hash string `json:"hash"`
}

func newIPM(d *attest.FilesDocument) ipmFiles {
	spelled := func(d store.Digest) string { return "SHA256:" + d.Hex() }
	v := ipmFiles{
		TimeStamp: time.Unix(d.SourceDateEpoch, 0).UTC().Format("2006-01-02T15:04:05.000000-07:00"),
		Hash:      spelled(d.Hash), Files: []ipmFile{},
	}
	hashes := map[string]store.Digest{}
	for _, f := range d.Files {
		h := f.Hash
		if f.Type == string(rune(store.Link)) {
			h = hashes[f.Link] // which comes before
		}
		if hashes[f.Path] = h; h != "" {
			v.Files = append(v.Files, ipmFile{f.Path, spelled(h)})
		}
	}
	v.TotalFiles = len(v.Files)
	return v
}

func (r ipmFiles) Print(out io.Writer) {
	if data, err := json.MarshalIndent(r, "", "  "); err == nil {
		fmt.Fprintf(out, "%s\n", data)
	}
}

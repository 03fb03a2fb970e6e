package main

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"rebuild/index"
	"rebuild/internal/document"
)

// answer URL FILE writes what a server answers to a file: the status, the
// header, sorted, an empty line, and the body.
func answer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: answer URL FILE")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(args[0])
	ts.Check(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	ts.Check(err)
	var head []string
	for name, values := range res.Header {
		head = append(head, name+": "+strings.Join(values, ", "))
	}
	slices.Sort(head)
	text := strconv.Itoa(res.StatusCode) + "\n" + strings.Join(head, "\n") + "\n\n" + string(body)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o644))
}

// tabled DIR... wants every file below folders to stand in the table that
// rebuild versions prints, by its place and, if it says what it is, by that.
func tabled(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: tabled DIR...")
	}
	for _, dir := range args {
		files := 0
		ts.Check(filepath.WalkDir(ts.MkAbs(dir), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(file, "lock") { // nothing is in a lock
				return err
			}
			files++
			rel, err := filepath.Rel(ts.MkAbs("."), file)
			ts.Check(err)
			if !inTable(rel) {
				ts.Fatalf("%s is in no row of rebuild versions", rel)
			}
			if id := saysItIs(ts.ReadFile(file)); id != "" {
				k, known := document.KindOf(id)
				if !known || id != k.ID() {
					ts.Fatalf("%s is a %s, which is in no row of rebuild versions", rel, id)
				}
			}
			return nil
		}))
		if files == 0 {
			ts.Fatalf("%s has no file", dir)
		}
	}
}

// inTable says whether a place is one of the table's. "NAME/" there stands for
// everything below such a folder.
func inTable(file string) bool {
	_, below, _ := strings.Cut(file, "/")
	if _, line := index.LineName(below); line {
		return true
	}
	var places []string
	for _, k := range document.Kinds() {
		places = append(places, strings.Split(k.File, ", ")...)
	}
	for _, f := range document.Formats() {
		places = append(places, strings.Split(f.File, ", ")...)
	}
	return slices.ContainsFunc(places, func(place string) bool {
		if folder, ok := strings.CutSuffix(place, "/"); ok {
			return slices.Contains(strings.Split(path.Dir(file), "/"), folder)
		}
		parts := strings.Split(file, "/")
		n := strings.Count(place, "/") + 1
		if len(parts) < n {
			return false
		}
		fits, err := path.Match(place, strings.Join(parts[len(parts)-n:], "/"))
		return err == nil && fits
	})
}

// saysItIs returns the schema_version in the first line of a file, "" without.
func saysItIs(text string) string {
	line, _, _ := bytes.Cut([]byte(text), []byte("\n"))
	var d struct {
		SchemaVersion string `json:"schema_version"`
	}
	if json.Unmarshal(line, &d) != nil {
		return ""
	}
	return d.SchemaVersion
}

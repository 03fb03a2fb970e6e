package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"rebuild/attest"
	"rebuild/index"
)

// trustlog POLICY INDEX makes a policy trust the log of an index, and count
// only what is in it.
func trustLog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: trustlog POLICY INDEX")
	}
	var config struct {
		Log struct{ Origin, Key string }
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1]+"/config.json")), &config))
	text := strings.Replace(ts.ReadFile(args[0]), "\nversion = 1\n", "\nversion = 1\nrequire = { logged = true }\n", 1)
	text += fmt.Sprintf("[log]\norigin = %q\nkey = %q\n", config.Log.Origin, config.Log.Key)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// plain NAME VERSION makes the archive of a package that nobody has rebuilt.
func plainPackage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: plain NAME VERSION")
	}
	text := strings.NewReplacer(`"hello"`, `"`+args[0]+`"`, "0.1.0", args[1]).Replace(castPackage)
	_, image, err := attest.LoadPackage("package.toml", []byte(text))
	ts.Check(err)
	pkg, err := attest.Pack(image, nil, 1)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+"-"+args[1]+".tar"), pkg.Archive(), 0o644))
}

// exchange INDEX NAME puts another archive in the place of that of a package's
// first version.
func exchangeArchive(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: exchange INDEX FILE")
	}
	line, _, _ := strings.Cut(ts.ReadFile(args[0]+"/"+args[1]), "\n")
	e, err := index.ParseEntry(args[1], []byte(line))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+"/objects/sha256/"+e.Cksum), []byte("another archive"), 0o644))
}

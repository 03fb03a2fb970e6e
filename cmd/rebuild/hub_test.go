package main

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// serving NAME COMMAND... starts a command that serves, and puts the address
// that it prints into $NAME. At the end of the script it is interrupted, and
// must end with status 0.
func serving(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: serving NAME COMMAND...")
	}
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "XDG_CACHE_HOME", "TMPDIR"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		cmd.Wait()
		ts.Fatalf("%v ended: %s", args, stderr.String())
	}
	ts.Setenv(args[0], strings.TrimSuffix(strings.TrimSpace(line), "/"))
	ts.Defer(func() {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			ts.Fatalf("%v: %v", args, err)
		}
		if err := cmd.Wait(); err != nil {
			ts.Fatalf("%v: %v\n%s", args, err, stderr.String())
		}
	})
}

// status STATUS URL [FILE] asks for a file, wants the status, and compares the
// body with a file.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status STATUS URL [FILE]")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(args[1])
	ts.Check(err)
	defer res.Body.Close()
	var body bytes.Buffer
	_, err = body.ReadFrom(res.Body)
	ts.Check(err)
	if got := strings.Fields(res.Status)[0]; got != args[0] {
		ts.Fatalf("%s: %s\n%s", args[1], res.Status, body.String())
	}
	if len(args) == 3 {
		want, err := os.ReadFile(ts.MkAbs(args[2]))
		ts.Check(err)
		if !bytes.Equal(body.Bytes(), want) {
			ts.Fatalf("%s is not %s", args[1], args[2])
		}
	}
}

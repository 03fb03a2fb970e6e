package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
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

// post STATUS URL FILE sends a file as it is, wants the status, and leaves the
// answer in the file "answer".
func post(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: post STATUS URL FILE")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Post(args[1], "application/vnd.dsse.envelope.v1+json", strings.NewReader(ts.ReadFile(args[2])))
	ts.Check(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("answer"), body, 0o644))
	if got := strings.Fields(res.Status)[0]; got != args[0] {
		ts.Fatalf("%s: %s\n%s", args[1], res.Status, body)
	}
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

// withholder NAME URL puts into $NAME the address of a server that hands
// everything on to a hub, and shows the log for ever as it was at first.
func withholder(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: withholder NAME URL")
	}
	hub, err := url.Parse(args[1])
	ts.Check(err)
	var mu sync.Mutex
	first := map[string]*httptest.ResponseRecorder{}
	proxy := httputil.NewSingleHostReverseProxy(hub)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/checkpoint") {
			proxy.ServeHTTP(w, r)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		seen := first[r.URL.Path]
		if seen == nil {
			seen = httptest.NewRecorder()
			proxy.ServeHTTP(seen, r)
			first[r.URL.Path] = seen
		}
		w.Write(seen.Body.Bytes())
	}))
	ts.Defer(s.Close)
	res, err := http.Get(s.URL + "/index/checkpoint")
	ts.Check(err)
	res.Body.Close()
	ts.Setenv(args[0], s.URL)
}

// swallower NAME URL puts into $NAME the address of a server that hands everything
// on to a hub but statements, which it answers as logged in the first place.
func swallower(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: swallower NAME URL")
	}
	hub, err := url.Parse(args[1])
	ts.Check(err)
	proxy := httputil.NewSingleHostReverseProxy(hub)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/statements" {
			proxy.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"duplicate":false,"ok":true,"seq":0}`)
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}

// answering NAME WHAT DIR [STATUS] puts into $NAME the address of a server that has
// the index of a folder and answers to who asks for a snapshot with a status or a
// file. With STATUS it answers to who asks for an archive with that.
func answering(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: answering NAME WHAT DIR [STATUS]")
	}
	files := http.StripPrefix("/index/", http.FileServer(http.Dir(ts.MkAbs(args[2]))))
	status, err := strconv.Atoi(args[1])
	var archive []byte
	if err != nil {
		archive = []byte(ts.ReadFile(args[1]))
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/snapshot") && archive != nil:
			w.Write(archive)
		case strings.HasSuffix(r.URL.Path, "/snapshot"):
			w.WriteHeader(status)
		case len(args) > 3 && strings.HasPrefix(r.URL.Path, "/index/objects/"):
			missing := httptest.NewRecorder()
			files.ServeHTTP(missing, r)
			if missing.Code != http.StatusOK {
				missing.Code, _ = strconv.Atoi(args[3])
			}
			w.WriteHeader(missing.Code)
			w.Write(missing.Body.Bytes())
		default:
			files.ServeHTTP(w, r)
		}
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}

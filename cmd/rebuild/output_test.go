package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// inProcess runs a command without a process of its own.
func inProcess(t testing.TB, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	open := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	out, errs := open("stdout"), open("stderr")
	defer out.Close()
	defer errs.Close()
	env := map[string]string{}
	for _, kv := range environment(dir) {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	status = run(context.Background(), args, world{
		stdin: os.Stdin, stdout: out, stderr: errs, getenv: func(name string) string { return env[name] },
		now: time.Now, wall: time.Now, random: strings.NewReader(""),
	})
	return status, string(read(t, out.Name())), string(read(t, errs.Name()))
}

// Help that does not fit a screen is not read, and one without an example does
// not help.
func TestHelp(t *testing.T) {
	t.Parallel()
	a := &app{ui: ui{world: world{getenv: func(string) string { return "" }}}}
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		t.Run(c.CommandPath(), func(t *testing.T) {
			status, out, errs := inProcess(t, append(strings.Fields(c.CommandPath())[1:], "--help")...)
			if status != 0 || errs != "" {
				t.Errorf("exit %d, stderr %q", status, errs)
			}
			if n := strings.Count(out, "\n"); n > 40 {
				t.Errorf("%d lines, at most 40 fit:\n%s", n, out)
			}
			if !strings.HasPrefix(out, c.Short+"\n\nUsage:\n") || c.Short == "" {
				t.Errorf("it does not begin with what the command does and its usage:\n%s", out)
			}
			if !c.HasSubCommands() {
				examples, flags := strings.Index(out, "\nExamples:\n  rebuild "), strings.Index(out, "\nFlags:\n")
				if examples < 0 || flags < examples {
					t.Errorf("no examples before the flags:\n%s", out)
				}
			}
		})
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(a.rootCommand())
}

// Names and messages from documents must not write lines of ours, colour the
// terminal or turn the text around.
func TestOneLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain, with ümläut":       "plain, with ümläut",
		" two\nlines\n":            "two lines",
		"a\r\x1b[2Krebuild: ok":    "a??[2Krebuild: ok",
		"tab\tand nul\x00":         "tab and nul?",
		"\u009b31mred":             "?31mred",
		"right\u202eot-left":       "right?ot-left",
		"hidden\u200bspace\ufeff":  "hidden?space?",
		"paragraph\u2029separator": "paragraph?separator",
		"invalid \xff byte":        "invalid \ufffd byte",
	} {
		if got := oneLine(in); got != want {
			t.Errorf("oneLine(%q) = %q, want %q", in, got, want)
		}
	}
}

// The hint for a word that is close to a known one is the line that was meant;
// for one that is not, a guess would mislead.
func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"run", "release", "plan", "platform", "pipeline", "state"}
	for word, want := range map[string]string{
		"rnu": "run", "ru": "", "pln": "plan", "pipline": "pipeline", "piepline": "pipeline", "sate": "state",
		"relaese": "release", "x": "", "": "", "something": "", "platfrom": "platform",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
	if got, want := corrected([]string{"run", "--pipline=a b", "--pipline"}, "--pipline", "--pipeline"), "rebuild run '--pipeline=a b' --pipline"; got != want {
		t.Errorf("corrected: %s, want %s", got, want)
	}
}

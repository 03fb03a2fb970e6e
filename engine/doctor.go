package engine

import (
	"context"
	"os"
	"runtime"
	"strings"

	"rebuild/internal/fault"
)

// Finding is one thing that doctor looked at.
type Finding struct {
	Level string `json:"level"` // "ok", "warning" or "error"
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"`
}

// Doctor says whether this machine can build stages. The error is
// ENGINE_UNAVAILABLE if it can not; the findings say why. It starts an engine
// and stops it again.
func (e *Engine) Doctor(ctx context.Context) ([]Finding, error) {
	findings := []Finding{machine(), privilege(), binfmt()}
	rc, err := e.runc()
	if err != nil {
		return append(findings, errorFinding(err)), err
	}
	findings = append(findings, Finding{Level: "ok", Text: "runc " + rc.version + ", " + string(rc.digest)})
	if _, err := e.running(ctx); err != nil {
		return append(findings, errorFinding(err)), err
	}
	return append(findings, Finding{Level: "ok", Text: "the engine starts and answers, BuildKit " + buildkitVersion()}), nil
}

func errorFinding(err error) Finding {
	f := Finding{Level: "error", Text: err.Error()}
	if coded, ok := err.(*fault.Error); ok {
		f.Hint = coded.Hint
	}
	return f
}

func machine() Finding {
	f := Finding{Level: "ok", Text: "linux/" + runtime.GOARCH + ", kernel " + kernelRelease()}
	if runtime.GOARCH != "amd64" {
		f.Level, f.Hint = "error", "use an x86-64 machine: stages are not emulated"
	}
	return f
}

// privilege reports what an ordinary user's engine depends on.
func privilege() Finding {
	if !Rootless() {
		return Finding{Level: "ok", Text: "running as root"}
	}
	f := Finding{Level: "ok", Text: "running as an ordinary user, in a user namespace with one id"}
	if setting("/proc/sys/user/max_user_namespaces") == "0" {
		f.Level, f.Hint = "error", "sysctl user.max_user_namespaces=10000"
	}
	if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
		f.Level, f.Hint = "warning", "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or give rebuild an AppArmor profile with userns"
	}
	return f
}

// binfmt warns of registered interpreters: with flag F one of them could run a
// stage's programs without being among its inputs.
func binfmt() Finding {
	names := interpreters("/proc/sys/fs/binfmt_misc")
	if len(names) == 0 {
		return Finding{Level: "ok", Text: "no foreign program interpreters are registered"}
	}
	return Finding{Level: "warning", Text: "registered program interpreters: " + strings.Join(names, ", "),
		Hint: "remove them on a machine that rebuilds: they are executables that no lineage sees"}
}

// interpreters are the names of those that a kernel has registered, sorted; none
// if it has no binfmt_misc.
func interpreters(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if e.Name() != "register" && e.Name() != "status" {
			names = append(names, e.Name())
		}
	}
	return names
}

func setting(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

package stages

import (
	"iter"
	"regexp"
	"slices"
	"strings"

	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// Image holds the settings of a stage's image that override, key by key, what
// its Containerfile declares (formats.md 3). A field that is empty does not
// override.
type Image struct {
	Cmd          []string          `json:"cmd,omitempty"`
	Entrypoint   []string          `json:"entrypoint,omitempty"`
	Env          []string          `json:"env,omitempty"`           // KEY=VALUE, in the order that counts
	ExposedPorts []string          `json:"exposed_ports,omitempty"` // "80/tcp"; a set
	Labels       map[string]string `json:"labels,omitempty"`
	StopSignal   string            `json:"stop_signal,omitempty"`
	User         string            `json:"user,omitempty"`
	Volumes      []string          `json:"volumes,omitempty"`     // absolute paths; a set
	WorkingDir   string            `json:"working_dir,omitempty"` // absolute
}

// IsZero says whether nothing is overridden.
func (i Image) IsZero() bool {
	return len(i.Entrypoint)+len(i.Cmd)+len(i.Env)+len(i.Labels)+len(i.ExposedPorts)+len(i.Volumes) == 0 &&
		i.User == "" && i.WorkingDir == "" && i.StopSignal == ""
}

var (
	portGrammar   = regexp.MustCompile(`^[1-9][0-9]{0,4}(/(tcp|udp|sctp))?$`)
	signalGrammar = regexp.MustCompile(`^(SIG[A-Z0-9+-]+|[1-9][0-9]?)$`)
	keyGrammar    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// check judges the settings. An empty list is refused, because it reads as
// "clear the base's value" and could not do that.
func (i Image) check(src *document.Source) error {
	for key, list := range i.lists() {
		if list != nil && len(list) == 0 {
			return src.Fault(fault.Semantic, []any{"image", key}, "image.%s is empty", key).
				WithHint("leave the key out; an empty list overrides nothing")
		}
		for n, s := range list {
			if strings.ContainsRune(s, 0) {
				return src.Fault(fault.Semantic, []any{"image", key, n}, "image.%s contains a NUL", key)
			}
		}
	}
	if err := i.checkEnv(src); err != nil {
		return err
	}
	if i.WorkingDir != "" && !cleanAbsolute(i.WorkingDir) {
		return src.Fault(fault.Semantic, []any{"image", "working_dir"}, "image.working_dir %q is not an absolute clean path", i.WorkingDir)
	}
	if strings.ContainsAny(i.User, "\x00\n") {
		return src.Fault(fault.Semantic, []any{"image", "user"}, "image.user %q is not a user", i.User)
	}
	for n, port := range i.ExposedPorts {
		if !portGrammar.MatchString(port) || slices.Contains(i.ExposedPorts[:n], port) {
			return src.Fault(fault.Semantic, []any{"image", "exposed_ports", n}, "%q is not a port, or named twice", port).
				WithHint("write for example exposed_ports = [\"80/tcp\"]")
		}
	}
	for n, volume := range i.Volumes {
		if !cleanAbsolute(volume) || slices.Contains(i.Volumes[:n], volume) {
			return src.Fault(fault.Semantic, []any{"image", "volumes", n}, "volume %q is not an absolute clean path, or named twice", volume)
		}
	}
	if i.StopSignal != "" && !signalGrammar.MatchString(i.StopSignal) {
		return src.Fault(fault.Semantic, []any{"image", "stop_signal"}, "%q is not a signal", i.StopSignal)
	}
	return nil
}

// lists yields the settings that are lists, in the order they are checked.
func (i Image) lists() iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		_ = yield("entrypoint", i.Entrypoint) && yield("cmd", i.Cmd) && yield("env", i.Env) &&
			yield("exposed_ports", i.ExposedPorts) && yield("volumes", i.Volumes)
	}
}

// sorted returns the settings with their sets in one order, so that the order
// in which a person wrote them is no part of the plan.
func (i Image) sorted() Image {
	i.ExposedPorts = slices.Sorted(slices.Values(i.ExposedPorts))
	i.Volumes = slices.Sorted(slices.Values(i.Volumes))
	return i
}

func (i Image) checkEnv(src *document.Source) error {
	var seen []string
	for n, kv := range i.Env {
		key, _, ok := strings.Cut(kv, "=")
		if !ok || key == "" {
			return src.Fault(fault.Semantic, []any{"image", "env", n}, "%q is not KEY=VALUE", kv)
		}
		if slices.Contains(seen, key) {
			return src.Fault(fault.Semantic, []any{"image", "env", n}, "image.env sets %s twice", key)
		}
		seen = append(seen, key)
	}
	return nil
}

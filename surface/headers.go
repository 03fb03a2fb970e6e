package surface

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"strings"
)

// headerSuffixes are those of C and C++ headers.
var headerSuffixes = []string{".h", ".hh", ".hpp", ".hxx", ".h++", ".ipp", ".inl", ".tcc"}

func isHeader(p string) bool { return slices.Contains(headerSuffixes, strings.ToLower(path.Ext(p))) }

// maxMacro is the longest macro that is shown as it is.
const maxMacro = 80

// readHeader reads the names in a header. It is no preprocessor: what stands
// under a condition counts too, and a name that only a macro pastes together is
// not seen.
func readHeader(p string, data []byte) Header {
	h := Header{Path: p}
	macros, names := map[string]string{}, map[string]bool{}
	for _, line := range strings.Split(stripped(string(data)), "\n") {
		line = strings.TrimSpace(line)
		if directive, ok := strings.CutPrefix(line, "#"); ok {
			directive = strings.TrimSpace(directive)
			if rest, ok := strings.CutPrefix(directive, "define"); ok && rest != "" && !identRune(rune(rest[0])) {
				name, value := macro(strings.TrimSpace(rest))
				macros[name] = value
			}
			continue
		}
		for _, word := range strings.FieldsFunc(line, func(r rune) bool { return !identRune(r) }) {
			if c := word[0]; c < '0' || c > '9' {
				names[word] = true
			}
		}
	}
	h.Names = []string{}
	for name := range names {
		h.Names = append(h.Names, name)
	}
	slices.Sort(h.Names)
	for name, value := range macros {
		// A macro without a value is most often the header's own guard.
		if name != "" && !isGuard(name, value, p) {
			h.Macros = append(h.Macros, Macro{name, value})
		}
	}
	h.Macros = sorted(h.Macros, func(m Macro) string { return m.Name })
	h.Declares, h.Constants = declarations(data)
	return h
}

// isGuard says whether a macro without a value is named after its header.
func isGuard(name, value, p string) bool {
	base := strings.ToUpper(strings.TrimSuffix(path.Base(p), path.Ext(p)))
	fold := func(r rune) rune {
		if identRune(r) && r != '_' {
			return r
		}
		return -1
	}
	return value == "" && strings.Contains(strings.Map(fold, strings.ToUpper(name)), strings.Map(fold, base))
}

// macro splits a definition into its name, with parameters, and its value.
func macro(def string) (name, value string) {
	end := strings.IndexFunc(def, func(r rune) bool { return !identRune(r) })
	if end < 0 {
		return def, ""
	}
	name = def[:end]
	value = strings.Join(strings.Fields(def[end:]), " ")
	if len(value) > maxMacro {
		value = hashed(value)
	}
	return name, value
}

func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func identRune(r rune) bool {
	return r == '_' || r == '$' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r > 0x7f
}

// stripped joins continued lines and takes comments and the content of strings
// away.
func stripped(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\\\n", " ")
	directive := false
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "/*"):
			end := strings.Index(s[i+2:], "*/")
			if end < 0 {
				return b.String()
			}
			b.WriteByte(' ')
			i += end + 3
		case strings.HasPrefix(s[i:], "//"):
			end := strings.IndexByte(s[i:], '\n')
			if end < 0 {
				return b.String()
			}
			i += end - 1
		case s[i] == '"' || s[i] == '\'':
			end := i + 1
			for end < len(s) && s[end] != s[i] && s[end] != '\n' {
				if s[end] == '\\' {
					end++
				}
				end++
			}
			if end = min(end, len(s)-1); directive {
				b.WriteString(s[i : end+1]) // a macro's value is compared
			} else if s[end] == '\n' {
				b.WriteByte('\n')
			}
			i = end
		default:
			if s[i] == '\n' {
				directive = false
			} else if s[i] == '#' {
				directive = true
			}
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// readPkgConfig reads a .pc file. Variables stay as they are: where a package is
// installed is not what it offers.
func readPkgConfig(p string, data []byte) PkgConfig {
	c := PkgConfig{Path: p}
	joined := strings.ReplaceAll(strings.ReplaceAll(string(data), "\r\n", "\n"), "\\\n", " ")
	for _, line := range strings.Split(joined, "\n") {
		line, _, _ = strings.Cut(line, "#")
		at := strings.IndexAny(line, ":=")
		if at < 0 || line[at] == '=' {
			continue
		}
		value := strings.TrimSpace(line[at+1:])
		switch strings.ToLower(strings.TrimSpace(line[:at])) {
		case "version":
			c.Version = value
		case "requires":
			c.Requires = requirements(value)
		case "requires.private":
			c.RequiresPrivate = requirements(value)
		case "libs":
			c.Libs = strings.Fields(value)
		case "cflags":
			c.Cflags = strings.Fields(value)
		}
	}
	return c
}

// requirements splits "a >= 1, b c" into one text for each.
func requirements(value string) []string {
	var out []string
	words := strings.Fields(strings.ReplaceAll(value, ",", " "))
	for i := 0; i < len(words); i++ {
		if i+2 < len(words) && strings.ContainsAny(words[i+1], "<>=!") {
			out = append(out, words[i]+" "+words[i+1]+" "+words[i+2])
			i += 2
			continue
		}
		out = append(out, words[i])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

package surface

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Debug information has only what a library's own code uses. What a header
// brings into the program that includes it, constants of an enum that is passed
// as an int, functions that are inline, structs that travel as void pointers, is
// nowhere but in its text. It is read here as far as its shape shows it: no
// macro is replaced, and what stands under a condition counts too.

// maxValue is the longest declaration that is shown as it is.
const maxValue = 200

// declarations returns what a header defines for those who include it, of the
// kinds func, struct and union, and the constants of its enums.
func declarations(data []byte) (defined []Export, constants []Macro) {
	tokens := tokensOf(stripped(string(data)))
	constants = append(constants, constantsOf(tokens)...)
	d := &declared{tokens: tokens}
	d.read()
	return sorted(d.out, Export.key), sorted(constants, func(m Macro) string { return m.Name })
}

// tokensOf splits a header without its directives into words and single
// characters.
func tokensOf(text string) []string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
			continue
		}
		for len(line) > 0 {
			n := strings.IndexFunc(line, func(r rune) bool { return !identRune(r) })
			if n < 0 {
				n = len(line)
			}
			if n == 0 {
				_, n = utf8.DecodeRuneInString(line)
			}
			if word := strings.TrimSpace(line[:n]); word != "" {
				out = append(out, strings.ToValidUTF8(word, "?"))
			}
			line = line[n:]
		}
	}
	return out
}

// closing returns the place of the bracket that ends what begins at open, or the
// end of the text.
func closing(tokens []string, open int, left, right string) int {
	depth := 0
	for i := open; i < len(tokens); i++ {
		switch tokens[i] {
		case left:
			depth++
		case right:
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(tokens)
}

// constantsOf returns the enumerators of every enum. A name that is defined twice,
// such as under two conditions, has both values.
func constantsOf(tokens []string) []Macro {
	found := map[string][]string{}
	for i := 0; i < len(tokens); i++ {
		if tokens[i] != "enum" {
			continue
		}
		open := i + 1
		scope := ""
		for open < min(len(tokens), i+maxHead) && tokens[open] != "{" && tokens[open] != ";" && tokens[open] != "(" && tokens[open] != "}" {
			if tokens[i+1] == "class" || tokens[i+1] == "struct" {
				scope = tokens[min(i+2, len(tokens)-1)] + "::"
			}
			open++
		}
		if open < len(tokens) && tokens[open] == "{" {
			end := closing(tokens, open, "{", "}")
			for name, value := range enumerators(tokens[open+1 : end]) {
				found[scope+name] = append(found[scope+name], value)
			}
			i = end
		}
	}
	var out []Macro
	for name, values := range found {
		slices.Sort(values)
		out = append(out, Macro{name, short(strings.Join(slices.Compact(values), " or "))})
	}
	return out
}

// enumerators returns the constants of one enum. A value that is no plain number
// stays the text that it is.
func enumerators(body []string) map[string]string {
	out := map[string]string{}
	base, after := "", int64(-1) // the last value is base, if any, plus after
	for len(body) > 0 {
		end := 0
		for depth := 0; end < len(body) && (depth > 0 || body[end] != ","); end++ {
			depth += strings.Count("({[", body[end]) - strings.Count(")}]", body[end])
		}
		item := body[:end]
		body = body[min(end+1, len(body)):]
		if len(item) == 0 || !identRune(rune(item[0][0])) {
			continue
		}
		if at := slices.Index(item, "="); at < 0 {
			after++
		} else if n, ok := value(item[at+1:], out); ok {
			base, after = "", n
		} else {
			base, after = strings.Join(item[at+1:], " "), 0
		}
		switch {
		case base == "":
			out[item[0]] = strconv.FormatInt(after, 10)
		case after == 0:
			out[item[0]] = base
		default:
			out[item[0]] = fmt.Sprintf("%s + %d", base, after)
		}
	}
	return out
}

// value reads a number, one with a sign, one shifted, or the name of an
// enumerator before it.
func value(expr []string, known map[string]string) (int64, bool) {
	for range 8 {
		if len(expr) > 2 && expr[0] == "(" && closing(expr, 0, "(", ")") == len(expr)-1 {
			expr = expr[1 : len(expr)-1]
		}
	}
	switch {
	case len(expr) == 1:
		text := strings.TrimRight(expr[0], "uUlL")
		if k, ok := known[expr[0]]; ok {
			text = k
		}
		n, err := strconv.ParseInt(text, 0, 64)
		return n, err == nil
	case len(expr) == 2 && expr[0] == "-":
		n, ok := value(expr[1:], known)
		return -n, ok
	case len(expr) == 4 && expr[1] == "<" && expr[2] == "<":
		a, ok := value(expr[:1], known)
		b, also := value(expr[3:], known)
		return a << (uint64(b) & 63), ok && also
	}
	return 0, false
}

func short(s string) string {
	if len(s) > maxValue {
		return hashed(s)
	}
	return s
}

// declared reads definitions, one after the other.
type declared struct {
	tokens []string
	out    []Export
}

func (d *declared) read() {
	var head []string
	for i := 0; i < len(d.tokens); i++ {
		switch t := d.tokens[i]; t {
		case ";", "}":
			head = nil // the end of a declaration, or of a namespace
		case "{":
			if opens(head) {
				head = nil
				continue
			}
			end := closing(d.tokens, i, "{", "}")
			tail := d.tail(end)
			d.define(head, d.tokens[i+1:min(end, len(d.tokens))], tail)
			if i = end; isFunction(head) {
				head = nil
			} else {
				head = append(head, "{}")
			}
		default:
			head = append(head, t)
		}
		if len(head) > maxHead {
			head = nil
		}
	}
}

// maxHead bounds, in words, what is looked at around a body: a header may be all
// heads, and each is gone through a few times.
const maxHead = 64

// tail is what stands between a body and the end of the declaration.
func (d *declared) tail(end int) []string {
	if end >= len(d.tokens) {
		return nil
	}
	rest := d.tokens[end+1 : min(end+1+maxHead, len(d.tokens))]
	if at := slices.Index(rest, ";"); at >= 0 {
		return rest[:at]
	}
	return nil
}

// opens says whether a block holds declarations of the level around it.
func opens(head []string) bool {
	return slices.Contains(head, "namespace") || len(head) > 0 && head[0] == "extern" && !slices.Contains(head, "(")
}

// plain is a declaration without what compilers are told about it.
func plain(head []string) []string {
	var out []string
	for i := 0; i < len(head); i++ {
		if word := strings.Trim(head[i], "_"); (word == "attribute" || word == "declspec" || word == "alignas" || word == "Alignas" || word == "asm") &&
			i+1 < len(head) && head[i+1] == "(" {
			i = closing(head, i+1, "(", ")")
			continue
		}
		out = append(out, head[i])
	}
	return out
}

func isFunction(head []string) bool {
	p := plain(head)
	at := slices.Index(p, "(")
	return at > 0 && identRune(rune(p[at-1][0])) && !slices.Contains(p[:at], "=")
}

func (d *declared) define(head, body, tail []string) {
	p := plain(head)
	if isFunction(head) {
		at := slices.Index(p, "(")
		d.add(Export{Name: p[at-1], Kind: KindFunc, Result: short(strings.Join(p, " "))})
		return
	}
	for _, kind := range []string{KindStruct, "class", KindUnion} {
		at := slices.Index(p, kind)
		if at < 0 || slices.Contains(p, "enum") {
			continue
		}
		name := ""
		if rest := plain(tail); at+1 < len(p) {
			name = p[at+1]
		} else if slices.Contains(p, "typedef") && len(rest) > 0 {
			name = rest[len(rest)-1]
		}
		if kind == "class" {
			kind = KindStruct
		}
		if name != "" && identRune(rune(name[0])) {
			d.add(Export{Name: name, Kind: kind, Params: layoutWords(head, body, tail), Result: short(strings.Join(body, " "))})
		}
		return
	}
}

func (d *declared) add(x Export) {
	if x.Params == nil {
		x.Params = []string{}
	}
	d.out = append(d.out, x)
}

// layoutWords are those that change where things lie in memory and that debug
// information need not show.
func layoutWords(parts ...[]string) []string {
	seen := map[string]bool{}
	for _, part := range parts {
		for _, word := range part {
			switch word = strings.Trim(word, "_"); word {
			case "packed", "ms_struct", "gcc_struct", "scalar_storage_order", "transparent_union", "PACKED":
				seen[word] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// declaredTypes are the structs and unions that the text of public headers
// defines, as debug information calls them.
func declaredTypes(all []Header) map[string]bool {
	out := map[string]bool{}
	for _, h := range all {
		for _, x := range h.Declares {
			if x.Kind != KindFunc {
				out[x.Kind+" "+x.Name] = true
			}
		}
	}
	return out
}

// declarations compares what headers define in their text, as far as neither
// debug information nor symbols tell more.
func (c *comparison) declarations() {
	if len(c.new.Headers) == 0 {
		return
	}
	known := c.knownTypes()
	after, constants := c.new.declared(), c.new.constants()
	for _, h := range c.old.Headers {
		for _, x := range h.Declares {
			c.declaration(h.Path, x, after[x.key()], known)
		}
		for _, was := range h.Constants {
			c.constant(h.Path, was, constants, known)
		}
	}
}

// knownTypes are those that debug information of both sides has, and the
// enumerators of the old one.
func (c *comparison) knownTypes() map[string]bool {
	out, old := map[string]bool{}, byID(c.old)[TypesModule]
	next := map[string]bool{}
	for _, x := range byID(c.new)[TypesModule].Exports {
		next[x.key()] = true
	}
	for _, x := range old.Exports {
		out[x.key()] = next[x.key()]
		if x.Kind == KindEnum {
			for _, p := range x.Params {
				name, _, _ := strings.Cut(p, "=")
				out["constant "+name] = true
			}
		}
	}
	return out
}

func (e *Exports) declared() map[string][]Export {
	out := map[string][]Export{}
	for _, h := range e.Headers {
		for _, x := range h.Declares {
			out[x.key()] = append(out[x.key()], x)
		}
	}
	return out
}

func (e *Exports) constants() map[string][]string {
	out := map[string][]string{}
	for _, h := range e.Headers {
		for _, k := range h.Constants {
			out[k.Name] = append(out[k.Name], k.Value)
		}
	}
	return out
}

// declaration compares one definition with those of its name in any header.
func (c *comparison) declaration(header string, x Export, after []Export, known map[string]bool) {
	subject := header + ": " + x.Name
	same := func(y Export) bool { return x.Result == y.Result && slices.Equal(x.Params, y.Params) }
	switch {
	case x.Kind == KindFunc && len(after) == 0 && !c.newNames[x.Name]:
		c.add(Risk, DeclarationRemoved, subject, "the inline function is gone")
	case len(after) == 0 || slices.ContainsFunc(after, same):
	case known[x.key()]:
		// Members are known better; what debug information leaves out is not.
		if was, is := x.Params, after[0].Params; !slices.Equal(was, is) && !c.reported[x.Name] {
			c.changed(Risk, DeclarationChanged, subject, strings.Join(was, " "), strings.Join(is, " "), "is laid out in another way: was %q, is %q",
				strings.Join(was, " "), strings.Join(is, " "))
		}
	default:
		c.changed(Risk, DeclarationChanged, subject, x.Result, after[0].Result, "the text of the %s changed, and debug information does not have it", x.Kind)
	}
}

// constant compares one enumerator that no debug information has.
func (c *comparison) constant(header string, was Macro, after map[string][]string, known map[string]bool) {
	subject := header + ": " + was.Name
	is, ok := after[was.Name]
	switch {
	case known["constant "+was.Name]:
	case !ok && !c.newNames[was.Name]:
		c.add(Breaking, EnumChanged, subject, "the constant is gone")
	case !ok || slices.Contains(is, was.Value):
	default:
		level := Breaking
		for _, text := range []string{was.Value, is[0]} {
			if _, err := strconv.ParseInt(text, 10, 64); err != nil {
				level = Risk // perhaps another way to write the same
			}
		}
		c.changed(level, EnumChanged, subject, was.Value, is[0], "the constant was %s, is %s", was.Value, is[0])
	}
}

package bootstrap

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

var ccaRandom = flag.Int("cca.programs", 200, "random programs that compiler A and gcc must agree on")

// TestCcaRandomPrograms compares what programs do that nobody wrote. The seed of
// a program is its number.
func TestCcaRandomPrograms(t *testing.T) {
	needChain(t)
	dir := t.TempDir()
	numbers := make(chan int)
	var wait sync.WaitGroup
	for range 2 {
		own := dir + "/" + strconv.Itoa(rand.IntN(1<<60))
		if err := os.Mkdir(own, 0o755); err != nil {
			t.Fatal(err)
		}
		wait.Go(func() {
			for i := range numbers {
				text := ccaPrelude + ccaRandomProgram(uint64(i))
				// -fwrapv: sums of longs may wrap around, which is not what is tested here
				if _, ok := sameInBoth(t, own, text, "-w", "-fwrapv"); !ok {
					t.Errorf("program %d:\n%s", i, text)
				}
			}
		})
	}
	for i := range *ccaRandom {
		if t.Failed() {
			break
		}
		numbers <- i
	}
	close(numbers)
	wait.Wait()
}

// ccaRandomProgram returns a program of compiler A's language that C defines
// the behaviour of, but for longs that wrap around: no division by zero, no
// shift too far, no int that overflows, no index beyond an array, no two side
// effects in an order that C leaves open, no endless loop.
func ccaRandomProgram(seed uint64) string {
	g := &ccaGenerator{r: rand.New(rand.NewPCG(seed, 5))}
	g.file()
	return g.out.String()
}

// ccaValue is an expression of the language.
type ccaValue struct {
	text       string
	precedence int  // 1 is ||, 10 is *, 11 is unary, 12 is an operand
	long       bool // else it is an int in C
	most       int  // of an int: its value is in -most ... most
}

type ccaVariable struct {
	name  string
	kind  string // long, char, long *, char *, struct node *
	array int    // elements, a power of 2; 0 if it is no array
	fixed bool   // not to be assigned to
	local bool
}

type ccaFunction struct {
	name   string
	result string
	kinds  []string
	pure   bool // changes nothing but fuel
}

type ccaGenerator struct {
	r         *rand.Rand
	out       strings.Builder
	indent    int
	visible   []ccaVariable
	functions []ccaFunction
	pure      bool // of the function that is being written
	result    string
	calls     int // more that the expression may have: two could run in any order
	loops     int
	left      int // statements that the function may still have
	names     int
}

func (g *ccaGenerator) line(format string, args ...any) {
	fmt.Fprintf(&g.out, strings.Repeat("  ", g.indent)+format+"\n", args...)
}

func (g *ccaGenerator) one(of ...string) string { return of[g.r.IntN(len(of))] }

func (g *ccaGenerator) chance(percent int) bool { return g.r.IntN(100) < percent }

func (g *ccaGenerator) name(prefix string) string {
	g.names++
	return prefix + strconv.Itoa(g.names)
}

func (g *ccaGenerator) file() {
	g.line("struct node;")
	g.line("struct node {\n  long v;\n  struct node *next;\n  char *text;\n  long w;\n  long *data;\n};")
	g.line("enum { E0 = %d, E1, E2 = %d, E3 = E1 * 2 - E2 };", g.r.IntN(100)-50, g.r.IntN(1000))
	g.line("long fuel = 2000;\nlong pool[40];")
	for range 2 + g.r.IntN(4) {
		v := ccaVariable{name: g.name("g"), kind: g.one("long", "long", "char")}
		if g.chance(50) {
			g.line("%s %s = %s;", v.kind, v.name, g.constant(v.kind, 2))
		} else {
			g.line("%s %s;", v.kind, v.name)
		}
		g.visible = append(g.visible, v)
	}
	for range 3 + g.r.IntN(3) {
		v := ccaVariable{name: g.name("a"), kind: g.one("long", "char"), array: 16, fixed: true}
		if g.chance(50) {
			var values []string
			for range v.array {
				values = append(values, g.constant(v.kind, 1))
			}
			g.line("%s %s[] = { %s };", v.kind, v.name, strings.Join(values, ", "))
		} else {
			g.line("%s %s[%s];", v.kind, v.name, g.one("16", "8 * 2", "1 << 4", "0x10"))
		}
		g.visible = append(g.visible, v)
	}
	g.line("long la[16];\nchar ca[] = { 'q', -5, 127, -128, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };")
	g.line("char *texts[] = { \"first text\", \"second\\xfftext\", \"\\0\\x80\\x7f third\", \"last one of them\" };")
	g.visible = append(g.visible, ccaVariable{name: "la", kind: "long", array: 16, fixed: true}, ccaVariable{name: "ca", kind: "char", array: 16, fixed: true})
	for range 3 + g.r.IntN(5) {
		g.function()
	}
	g.line("long start(long argc, char **argv)\n{")
	g.indent, g.pure, g.result, g.left = 1, false, "", 60
	g.line("long i;\nfor (i = 0; i < 8; i = i + 1) {\n    struct node *p = (struct node *)pool + i;")
	g.line("  p->v = i * 1000003;\n    p->w = -i;\n    p->next = (struct node *)pool + (i + %d & 7);\n    p->text = &ca[i];\n    p->data = &la[i];\n  }", 1+g.r.IntN(7))
	global := len(g.visible)
	g.visible = append(g.visible, ccaVariable{name: "argc", kind: "long", local: true})
	g.line("n(argv[0] != 0);")
	g.block(6)
	for _, v := range g.visible[:global] {
		if v.array == 0 {
			g.line("n(%s);", v.name)
		} else {
			g.line("for (i = 0; i < %d; i = i + 1)\n    n(%s[i]);", v.array, v.name)
		}
	}
	g.line("for (i = 0; i < 8; i = i + 1)\n    n(pool[i * 5] + pool[i * 5 + 3]);")
	g.line("flush();\n  return fuel & 127;\n}")
}

// constant returns a constant expression that fits the kind.
func (g *ccaGenerator) constant(kind string, depth int) string {
	if kind == "char" {
		return g.one("'c'", "-1", "'\\xfe'", "7 * 9", "-128 + 1", "'a' + 1", "(char)300", "1 << 6 | 3", "~5", "0")
	}
	if depth == 0 {
		return g.one("5", "0x7fffffffffffffff", "4294967296", "(long)sizeof(struct node)", "E1", "E3", "'z'", "1000000007", "(long)0xfedcba9876543210")
	}
	left, right := g.constant(kind, depth-1), strconv.Itoa(1+g.r.IntN(30))
	return g.one("(long)("+left+") "+g.one("+", "-", "*", "/", "<<", "|", "&", "^", "%", ">>")+" "+right, "-("+left+" | 1)", "~("+left+")", left)
}

func (g *ccaGenerator) function() {
	f := ccaFunction{name: g.name("f"), result: g.one("long", "long", "char", "void", "long *", "struct node *"), pure: g.chance(50)}
	if f.pure && f.result == "void" {
		f.result = "long"
	}
	global := len(g.visible)
	var params []string
	for range g.r.IntN(9) {
		v := ccaVariable{name: g.name("p"), kind: g.one("long", "long", "char", "long *", "char *", "struct node *"), local: true}
		f.kinds = append(f.kinds, v.kind)
		params = append(params, declare(v.kind, v.name))
		g.visible = append(g.visible, v)
	}
	list := strings.Join(params, ", ")
	if list == "" {
		list = "void"
	}
	head := declare(f.result, f.name) + "(" + list + ")"
	if g.chance(30) {
		g.line("%s;", head)
	}
	g.line("%s\n{", head)
	g.indent, g.pure, g.result, g.left = 1, f.pure, f.result, 25
	g.line("if (fuel < 0)\n    return%s;", g.returned(0))
	g.line("fuel = fuel - 1;")
	g.block(4)
	if f.result != "void" {
		g.line("return%s;", g.returned(2))
	}
	g.indent = 0
	g.line("}")
	g.visible = g.visible[:global]
	g.functions = append(g.functions, f)
}

func declare(kind, name string) string {
	if strings.HasSuffix(kind, "*") {
		return kind + name
	}
	return kind + " " + name
}

// returned is what stands behind return.
func (g *ccaGenerator) returned(depth int) string {
	g.calls = 0
	switch g.result {
	case "void":
		return ""
	case "long", "char":
		return " " + g.value(depth).text
	}
	return " " + g.pointer(g.result, depth)
}

// block writes statements, with the names of a scope of its own.
func (g *ccaGenerator) block(most int) {
	before := len(g.visible)
	for range 1 + g.r.IntN(most) {
		if g.left--; g.left < 0 {
			break
		}
		g.statement()
	}
	g.visible = g.visible[:before]
}

func (g *ccaGenerator) nested(format string, args ...any) {
	g.line(format+" {", args...)
	g.indent++
	g.block(4)
	g.indent--
	g.line("}")
}

func (g *ccaGenerator) statement() {
	g.calls = 1
	switch n := g.r.IntN(100); {
	case n < 18:
		g.local()
	case n < 45:
		g.assignment()
	case n < 55 && !g.pure:
		g.line("n(%s);", g.value(4).text)
	case n < 68:
		g.nested("if (%s)", g.condition())
		if g.chance(50) {
			g.nested("else")
		}
	case n < 76 && g.loops < 3:
		i := g.name("i")
		g.line("long %s;", i)
		g.visible = append(g.visible, ccaVariable{name: i, kind: "long", fixed: true, local: true})
		g.loops++
		g.line("for (%s = %d; %s < %d; %s = %s + %d) {", i, -g.r.IntN(3), i, g.r.IntN(7), i, i, 1+g.r.IntN(2))
		g.body()
	case n < 82 && g.loops < 3:
		i := g.name("i")
		g.line("long %s = %d;", i, g.r.IntN(6))
		g.visible = append(g.visible, ccaVariable{name: i, kind: "long", fixed: true, local: true})
		g.loops++
		g.line("while (%s) {", g.one(
			"(("+i+" = "+i+" - 1)) > 0 && ("+g.value(2).text+")",
			"("+i+" = "+i+" - 1) >= 0", i+" > 0 && ("+i+" = "+i+" - 1)"))
		g.body()
	case n < 86 && g.loops > 0:
		g.line("if (%s)\n%s  %s;", g.condition(), strings.Repeat("  ", g.indent), g.one("break", "continue"))
	case n < 89:
		g.line("{")
		g.indent++
		g.block(4)
		g.indent--
		g.line("}")
	case n < 91 && g.result != "":
		condition := g.condition()
		g.line("if (%s)\n%s  return%s;", condition, strings.Repeat("  ", g.indent), g.returned(3))
	case !g.pure:
		g.call()
	default:
		g.line(";")
	}
}

func (g *ccaGenerator) body() {
	g.indent++
	g.line("fuel = fuel - 1;")
	g.line("if (fuel < 0)\n%s  break;", strings.Repeat("  ", g.indent))
	g.block(4)
	g.indent--
	g.loops--
	g.line("}")
}

func (g *ccaGenerator) condition() string {
	return g.value(3).text
}

// local declares a variable, at times with the name of an outer one.
func (g *ccaGenerator) local() {
	v := ccaVariable{name: g.name("v"), kind: g.one("long", "long", "long", "char", "char", "long *", "char *", "struct node *"), local: true}
	if g.chance(15) && (v.kind == "long" || v.kind == "char") {
		v.array, v.fixed = 16, true
		i := g.name("i")
		g.line("%s %s[16];\n%slong %s;", v.kind, v.name, strings.Repeat("  ", g.indent), i)
		g.line("for (%s = 0; %s < 16; %s = %s + 1)\n%s  %s[%s] = %s * %d - 50;", i, i, i, i, strings.Repeat("  ", g.indent), v.name, i, i, g.r.IntN(20))
		g.visible = append(g.visible, v)
		return
	}
	init := ""
	if strings.Contains(v.kind, "*") {
		init = g.pointer(v.kind, 3)
	} else {
		init = g.value(4).text
	}
	g.line("%s = %s;", declare(v.kind, v.name), init)
	g.visible = append(g.visible, v)
	if outer := g.visible[g.r.IntN(len(g.visible))]; g.chance(20) && g.indent > 1 && outer.array == 0 && !outer.fixed && outer.name != v.name {
		g.line("{")
		g.indent++
		init := g.value(2).text
		if regexp.MustCompile(`\b` + outer.name + `\b`).MatchString(init) {
			init = "77" // in C the name would already be the new one
		}
		g.line("%s = %s;", declare("long", outer.name), init)
		before := append([]ccaVariable(nil), g.visible...)
		for i := range g.visible {
			if g.visible[i].name == outer.name {
				g.visible[i].kind, g.visible[i].local = "long", true
			}
		}
		g.block(3)
		g.line("%s = %s ^ 1;", outer.name, outer.name)
		g.visible = before
		g.indent--
		g.line("}")
	}
}

// call writes a call of any function; its effects are alone in the statement.
func (g *ccaGenerator) call() {
	if len(g.functions) == 0 {
		return
	}
	f := g.functions[g.r.IntN(len(g.functions))]
	g.calls = 0
	text := g.calling(f, 3)
	if f.result == "long" || f.result == "char" {
		if v, ok := g.pick(func(v ccaVariable) bool { return v.local && v.array == 0 && !v.fixed && !strings.Contains(v.kind, "*") }); ok && g.chance(70) {
			text = v.name + " = " + text
		} else {
			text = "n(" + text + ")"
		}
	}
	g.line("%s;", text)
}

func (g *ccaGenerator) calling(f ccaFunction, depth int) string {
	var args []string
	for _, kind := range f.kinds {
		if strings.Contains(kind, "*") {
			args = append(args, g.pointer(kind, depth-1))
		} else {
			args = append(args, g.value(depth-1).text)
		}
	}
	return f.name + "(" + strings.Join(args, ", ") + ")"
}

func (g *ccaGenerator) pick(good func(ccaVariable) bool) (ccaVariable, bool) {
	var all []ccaVariable
	for _, v := range g.visible {
		if good(v) {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return ccaVariable{}, false
	}
	return all[g.r.IntN(len(all))], true
}

func (g *ccaGenerator) assignment() {
	free := func(v ccaVariable) bool { return !v.fixed && (v.local || !g.pure) }
	target, kind := "", ""
	calls := g.calls
	g.calls = 0
	switch n := g.r.IntN(10); {
	case n < 2 && !g.pure:
		target = g.member(g.one("v", "w"))
	case n < 3 && !g.pure:
		g.line("%s = %s;", g.member("next"), g.pointer("struct node *", 2))
		return
	case n < 6:
		if v, ok := g.pick(func(v ccaVariable) bool { return v.array > 0 && (v.local || !g.pure) }); ok {
			target = v.name + "[" + g.index(v.array, 2) + "]"
		}
	case n < 7 && !g.pure:
		target = g.one("*"+g.operand(g.pointer(g.one("long *", "char *"), 2)), g.operand(g.pointer("long *", 2))+"["+g.index(4, 2)+"]")
	}
	if target == "" {
		v, ok := g.pick(func(v ccaVariable) bool { return free(v) && v.array == 0 })
		if !ok {
			return
		}
		target, kind = v.name, v.kind
	}
	g.calls = calls
	if strings.Contains(kind, "*") {
		g.line("%s = %s;", target, g.pointer(kind, 3))
		return
	}
	if v, ok := g.pick(func(v ccaVariable) bool {
		return free(v) && v.array == 0 && !strings.Contains(v.kind, "*") && v.name != target
	}); ok && g.chance(15) && !strings.Contains(target, v.name) && !strings.ContainsAny(target, "[*>") {
		target += " = " + v.name
	}
	g.line("%s = %s;", target, g.value(4).text)
}

func (g *ccaGenerator) index(size, depth int) string {
	if g.chance(30) {
		return strconv.Itoa(g.r.IntN(size))
	}
	return g.wrap(g.value(depth), 5) + " & " + strconv.Itoa(size-1)
}

// operand puts a pointer into parentheses unless it is a name.
func (g *ccaGenerator) operand(pointer string) string {
	if regexp.MustCompile(`^\w+$`).MatchString(pointer) && g.chance(80) {
		return pointer
	}
	return "(" + pointer + ")"
}

func (g *ccaGenerator) member(name string) string {
	p := g.operand(g.pointer("struct node *", 2))
	for g.chance(30) {
		p += "->next"
	}
	return p + "->" + name
}

// pointer returns an expression for a pointer to at least 4 elements, or to a
// node of the pool.
func (g *ccaGenerator) pointer(kind string, depth int) string {
	if kind == "struct node *" {
		switch n := g.r.IntN(10); {
		case n < 4:
			if v, ok := g.pick(func(v ccaVariable) bool { return v.kind == kind }); ok {
				return v.name
			}
		case n < 6 && depth > 0:
			return g.member("next")
		case n < 7 && depth > 0:
			return "&((struct node *)pool)[" + g.index(8, depth-1) + "]"
		case n < 8 && depth > 0:
			if f, ok := g.callable(kind); ok {
				return g.calling(f, depth)
			}
		}
		return g.one("(struct node *)pool + "+strconv.Itoa(g.r.IntN(8)), "(struct node *)&pool["+strconv.Itoa(5*g.r.IntN(8))+"]", strconv.Itoa(g.r.IntN(8))+" + (struct node *)pool")
	}
	base := strings.TrimSuffix(kind, " *")
	switch n := g.r.IntN(10); {
	case n < 4:
		if v, ok := g.pick(func(v ccaVariable) bool { return v.kind == kind }); ok {
			return v.name
		}
	case n < 5 && depth > 0:
		return g.member(map[string]string{"long": "data", "char": "text"}[base])
	case n < 6 && depth > 0:
		if f, ok := g.callable(kind); ok {
			return g.calling(f, depth)
		}
	}
	// A function could return a pointer to its own array, so those don't count.
	v, _ := g.pick(func(v ccaVariable) bool { return v.array > 0 && v.kind == base && !v.local })
	if v.name == "" {
		v.name = map[string]string{"long": "la", "char": "ca"}[base]
	}
	if depth < 1 {
		return v.name
	}
	return g.one(v.name, "&"+v.name+"["+g.index(8, depth-1)+"]", v.name+" + ("+g.index(8, depth-1)+")", "("+g.index(8, depth-1)+") + "+v.name, "&"+v.name+"[15] - "+strconv.Itoa(3+g.r.IntN(12)))
}

// callable finds a function for an expression that still may have a call.
func (g *ccaGenerator) callable(results ...string) (ccaFunction, bool) {
	if g.calls == 0 {
		return ccaFunction{}, false
	}
	var all []ccaFunction
	for _, f := range g.functions {
		for _, r := range results {
			if f.pure && f.result == r {
				all = append(all, f)
			}
		}
	}
	if len(all) == 0 {
		return ccaFunction{}, false
	}
	g.calls--
	return all[g.r.IntN(len(all))], true
}

// wrap puts a value into parentheses if an operator of this precedence needs
// them, or at times without need.
func (g *ccaGenerator) wrap(v ccaValue, precedence int) string {
	if v.precedence < precedence || g.chance(10) {
		return "(" + v.text + ")"
	}
	return v.text
}

const intMost = 1 << 30

func (g *ccaGenerator) leaf() ccaValue {
	number := func(n int) ccaValue { return ccaValue{strconv.Itoa(n), 12, false, n} }
	switch g.r.IntN(12) {
	case 0:
		return number(g.r.IntN(10))
	case 1:
		return number(g.r.IntN(100000))
	case 2:
		return ccaValue{g.one("'x'", "'\\xff'", "'\\0'", "'\\n'", "'\\''", "'\\x80'"), 12, false, 128}
	case 3:
		return ccaValue{g.one("E0", "E1", "E2", "E3"), 12, false, 2000}
	case 4:
		return ccaValue{g.one("4294967296", "0x7fffffffffffffff", "2147483648", "0x123456789", "1000000000000"), 12, true, 0}
	case 5:
		return ccaValue{g.one("(long)sizeof(struct node)", "(long)0xffffffff", "(long)0x8000000000000000", "(long)0x80000000", "(long)sizeof(char *)"), 11, true, 0}
	}
	v, ok := g.pick(func(v ccaVariable) bool { return v.array == 0 && (v.kind == "long" || v.kind == "char") })
	if !ok {
		return number(3)
	}
	return ccaValue{v.name, 12, v.kind == "long", 128}
}

func (g *ccaGenerator) value(depth int) ccaValue {
	if depth <= 0 || g.chance(10) {
		return g.leaf()
	}
	switch n := g.r.IntN(100); {
	case n < 6: // an element
		if v, ok := g.pick(func(v ccaVariable) bool { return v.array > 0 }); ok {
			if g.chance(50) {
				return ccaValue{v.name + "[" + g.index(v.array, depth-1) + "]", 12, v.kind == "long", 128}
			}
			return ccaValue{"*(" + v.name + " + (" + g.index(v.array, depth-1) + "))", 11, v.kind == "long", 128}
		}
	case n < 8: // a string, which must not be written to
		return ccaValue{g.one("\"four\"", "texts["+g.index(4, depth-1)+"]") + "[" + g.index(4, depth-1) + "]", 12, false, 128}
	case n < 12:
		return ccaValue{g.member(g.one("v", "w")), 12, true, 0}
	case n < 17:
		kind := g.one("long *", "char *")
		p := g.operand(g.pointer(kind, depth-1))
		if g.chance(50) {
			return ccaValue{"*" + p, 11, kind == "long *", 128}
		}
		return ccaValue{p + "[" + g.index(4, depth-1) + "]", 12, kind == "long *", 128}
	case n < 20: // pointers of one array
		kind := g.one("long *", "char *")
		base := map[string]string{"long *": "la", "char *": "ca"}[kind]
		l := "&" + base + "[" + g.index(16, depth-1) + "]"
		r := base + " + " + strconv.Itoa(g.r.IntN(17))
		op := g.one("-", "==", "!=", "<", ">", "<=", ">=")
		return ccaValue{"(" + l + ") " + op + " (" + r + ")", map[string]int{"-": 9, "==": 6, "!=": 6}[op] + 7*b2i(strings.ContainsAny(op, "<>")), op == "-", 1}
	case n < 24:
		if f, ok := g.callable("long", "char"); ok {
			return ccaValue{g.calling(f, depth), 12, f.result == "long", 128}
		}
	case n < 36:
		v := g.value(depth - 1)
		op := g.one("-", "~", "!", "(char)", "(long)", "-", "!")
		text := g.wrap(v, 11)
		if op == "-" && strings.HasPrefix(text, "-") {
			text = " " + text
		}
		switch op {
		case "!":
			return ccaValue{op + text, 11, false, 1}
		case "(char)":
			return ccaValue{op + text, 11, false, 128}
		case "(long)":
			return ccaValue{op + text, 11, true, 0}
		}
		return ccaValue{op + text, 11, v.long, v.most + 1}
	}
	return g.binary(depth)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (g *ccaGenerator) binary(depth int) ccaValue {
	op := g.one("+", "-", "*", "+", "-", "/", "%", "<<", ">>", "<", "<=", ">", ">=", "==", "!=", "&", "^", "|", "&&", "||")
	precedence := map[string]int{"*": 10, "/": 10, "%": 10, "+": 9, "-": 9, "<<": 8, ">>": 8, "<": 7, "<=": 7, ">": 7, ">=": 7,
		"==": 6, "!=": 6, "&": 5, "^": 4, "|": 3, "&&": 2, "||": 1}[op]
	left := g.value(depth - 1)
	long := func(v ccaValue) ccaValue { return ccaValue{"(long)" + g.wrap(v, 11), 11, true, 0} }
	with := func(left ccaValue, right string, long bool, most int) ccaValue {
		return ccaValue{g.wrap(left, precedence) + " " + op + " " + right, precedence, long, most}
	}
	switch op {
	case "/", "%":
		var right string
		e := g.value(depth - 1)
		switch g.r.IntN(4) {
		case 0:
			right = "(" + g.wrap(e, 5) + " & " + strconv.Itoa(1<<g.r.IntN(12)-1) + ")"
			right = "(" + right + " + " + strconv.Itoa(1+g.r.IntN(50)) + ")"
		case 1:
			right = "(" + g.wrap(e, 10) + " % 1000 - 2000)"
		case 2:
			right = strconv.Itoa(1 + g.r.IntN(1000))
		default:
			right = "-" + strconv.Itoa(2+g.r.IntN(1000))
			e.long = false
		}
		if !strings.HasPrefix(right, "(") {
			return with(left, right, left.long, left.most)
		}
		return with(left, right, left.long || e.long, left.most+1000)
	case "<<", ">>":
		if !left.long {
			left = long(left)
		}
		if g.chance(50) {
			return with(left, strconv.Itoa(g.r.IntN(64)), true, 0)
		}
		return with(left, "("+g.wrap(g.value(depth-1), 5)+" & 63)", true, 0)
	}
	right := g.value(depth - 1)
	if left.long && g.chance(8) { // an unsigned int beside a long
		right = ccaValue{g.one("0xffffffff", "0x80000000", "0xdeadbeef"), 12, true, 0}
	}
	most := 0
	switch op {
	case "+", "-":
		most = left.most + right.most
	case "*":
		most = left.most * right.most
	case "&", "|", "^":
		most = 2*max(left.most, right.most) + 1
	default:
		return with(left, g.wrap(right, precedence+1), false, 1)
	}
	if !left.long && !right.long && (most > intMost || left.most > intMost || right.most > intMost) {
		if g.chance(50) {
			left = long(left)
		} else {
			right = long(right)
		}
	}
	text := g.wrap(right, precedence+1)
	if op == "-" && strings.HasPrefix(text, "-") || op == "&" && strings.HasPrefix(text, "&") {
		text = " " + text
	}
	return with(left, text, left.long || right.long, most)
}

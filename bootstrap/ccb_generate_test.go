package bootstrap

import (
	"fmt"
	"math/rand"
	"strings"
)

// A generator of programs of which the behaviour is defined: what C leaves open
// (overflow of signed numbers, right shifts of negative ones) is what gcc
// -fwrapv says, divisors and shift counts are kept in range, an expression has
// at most one side effect, and loops are bounded.

type ccbVariable struct {
	name string
	kind int // index in ccbKinds
}

var ccbKinds = []string{
	"char", "unsigned char", "short", "unsigned short", "int", "unsigned", "long", "unsigned long",
	"signed char", "long long", "unsigned long long", "double", "float", "long double",
}

const ccbIntegers = 11 // of ccbKinds

type ccbGenerator struct {
	*rand.Rand
	strings.Builder
	prefix string
	vars   []ccbVariable // that are in scope
	funcs  []int         // numbers of parameters
	fresh  int
	labels int
	loops  int
	indent string
	inPure bool
}

func (g *ccbGenerator) line(format string, args ...any) {
	fmt.Fprintf(g, g.indent+format+"\n", args...)
}

func (g *ccbGenerator) pick(words ...string) string { return words[g.Intn(len(words))] }

func (g *ccbGenerator) name(kind string) string {
	g.fresh++
	return fmt.Sprintf("%s%s%d", g.prefix, kind, g.fresh)
}

func (g *ccbGenerator) literal() string {
	switch g.Intn(9) {
	case 0:
		return fmt.Sprint(g.Intn(10))
	case 1:
		return fmt.Sprintf("0x%x", g.Uint32())
	case 2:
		return fmt.Sprintf("0x%xu", g.Uint64())
	case 3:
		return fmt.Sprintf("(-%dL)", g.Int63())
	case 4:
		return g.pick("127", "128", "255", "256", "32767", "32768", "65535", "65536", "2147483647", "2147483648",
			"4294967295", "4294967296", "0x7fffffff", "0x80000000", "0xffffffff", "0x7fffffffffffffff", "0x8000000000000000",
			"(-2147483647-1)", "(-128)", "(-129)", "(-32769)", "0xffffffffffffffff", "017", "0u", "1ul")
	case 5:
		return g.pick("'a'", "'\\n'", "'\\xff'", "'\\0'", "'\\177'", "'\\\\'")
	case 6:
		return fmt.Sprintf("sizeof(%s)", g.pick(ccbKinds...))
	case 7:
		return g.prefix + g.pick("ea", "eb", "ec")
	}
	return fmt.Sprint(g.Intn(1 << 16))
}

// variable returns a variable in scope, of an integer type or of any.
func (g *ccbGenerator) variable(floating bool) ccbVariable {
	for {
		v := g.vars[g.Intn(len(g.vars))]
		if floating || v.kind < ccbIntegers {
			return v
		}
	}
}

// place returns an lvalue of an integer type that has no side effect.
func (g *ccbGenerator) place() string {
	if g.inPure {
		return g.variable(false).name
	}
	p := g.prefix
	switch g.Intn(10) {
	case 0:
		return fmt.Sprintf("%sarray[%s & 7]", p, g.variable(false).name)
	case 1:
		return p + "s1." + g.member()
	case 2:
		return p + "sp->" + g.member()
	case 3:
		return fmt.Sprintf("%stable[%s & 3].%s", p, g.variable(false).name, g.member())
	case 4:
		return "(*" + p + "ip)"
	case 5:
		return fmt.Sprintf("%sgrid[%s & 1][%d]", p, g.variable(false).name, g.Intn(3))
	case 6:
		return fmt.Sprintf(g.pick("(*(%sarray + (%s & 7)))", "(&%sarray[3])[%s & 3]", "(%[2]s & 3)[%[1]sarray + 2]"), p, g.variable(false).name)
	}
	return g.variable(false).name
}

func (g *ccbGenerator) member() string {
	return g.pick("a", "b", "c", "d", "e", "f", "w[1]", "w[2]", "in.x", "in.y", "u8", "v16", "k", "l")
}

// expr returns an expression of an integer type.
func (g *ccbGenerator) expr(depth int) string {
	if depth <= 0 {
		switch g.Intn(12) {
		case 0, 1, 2:
			return g.literal()
		case 3:
			return fmt.Sprintf("%sstring[%s & 7]", g.prefix, g.variable(false).name)
		}
		return g.place()
	}
	a := func() string { return g.expr(depth - 1 - g.Intn(2)) }
	switch g.Intn(19) {
	case 16:
		p := g.prefix
		return fmt.Sprintf("%sva(%d, (int)%s, (long)%s, (double)%s, (char)%s, %ssmall, (float)%s)", p, g.Intn(7), a(), a(), g.real(depth-1), a(), p, g.real(depth-1))
	case 17:
		p := g.prefix
		return fmt.Sprintf("(&%sarray[%s & 7] %s &%sarray[%s & 7])", p, a(), g.pick("-", "<", ">=", "=="), p, a())
	case 18:
		return fmt.Sprintf("truncated(%sfd(%s, %s, %s))", g.prefix, g.real(depth-1), g.real(depth-1), g.real(depth-1))
	case 0, 1, 2:
		return fmt.Sprintf("(%s %s %s)", a(), g.pick("+", "-", "*"), a())
	case 3:
		return fmt.Sprintf("(%s %s %s)", a(), g.pick("&", "|", "^"), a())
	case 4:
		return fmt.Sprintf("(%s %s ((%s & 15) + 1))", a(), g.pick("/", "%"), a())
	case 5:
		return fmt.Sprintf("(%s %s (%s & %s))", a(), g.pick("<<", ">>"), a(), g.pick("7", "15", "31"))
	case 6, 7:
		return fmt.Sprintf("(%s %s %s)", a(), g.pick("<", "<=", ">", ">=", "==", "!="), a())
	case 8:
		return fmt.Sprintf("(%s %s %s)", a(), g.pick("&&", "||"), a())
	case 9:
		return fmt.Sprintf("%s%s", g.pick("-", "~", "!", "+", "- -", "!!"), "("+a()+")")
	case 10:
		return fmt.Sprintf("(%s)%s", ccbKinds[g.Intn(ccbIntegers)], a())
	case 11:
		return fmt.Sprintf("(%s ? %s : %s)", a(), a(), a())
	case 12:
		if len(g.funcs) == 0 {
			return a()
		}
		return g.call(depth - 1)
	case 13:
		return fmt.Sprintf("(%s %s %s)", g.real(depth-1), g.pick("<", "<=", ">", ">=", "==", "!="), g.real(depth-1))
	case 14:
		return fmt.Sprintf("%struncated(%s)", g.pick("", "(int)", "(unsigned char)"), g.real(depth-1))
	}
	return fmt.Sprintf("(%s, %s)", g.literal(), a())
}

func (g *ccbGenerator) call(depth int) string {
	f := g.Intn(len(g.funcs))
	args := make([]string, g.funcs[f])
	for i := range args {
		args[i] = g.expr(depth - 1)
	}
	name := fmt.Sprintf("%sf%d", g.prefix, f)
	if !g.inPure && g.Intn(5) == 0 {
		return fmt.Sprintf("%sfp[%s & 1](%s, %s)", g.prefix, g.expr(0), g.expr(0), g.expr(depth-1))
	}
	if g.Intn(4) == 0 {
		name = "(*" + name + ")"
	}
	return name + "(" + strings.Join(args, ", ") + ")"
}

func (g *ccbGenerator) real(depth int) string {
	if depth <= 0 {
		switch g.Intn(4) {
		case 0:
			return g.pick("0.0", "1.0", "-1.5", "0.1", "3.25f", "1e10", "1e-5", "0.1L", "-7e3L", "1.25L", "2.5e3f", "0x1.8p3", "123456789.125", "4294967296.0")
		case 1:
			return fmt.Sprintf("(%s)%s", g.pick("double", "float", "long double"), g.expr(0))
		}
		return g.variable(true).name
	}
	a := func() string { return g.real(depth - 1) }
	switch g.Intn(6) {
	case 0:
		return fmt.Sprintf("(%s + %s)", a(), a())
	case 1:
		return fmt.Sprintf("(%s - %s)", a(), a())
	case 2:
		return fmt.Sprintf("(%s * %s)", a(), a())
	case 3:
		return fmt.Sprintf("(%s / %s)", a(), g.pick("3.0", "0.7f", "1e3", "-9"))
	case 4:
		return fmt.Sprintf("(%s ? %s : %s)", a(), a(), g.expr(depth-1))
	}
	return fmt.Sprintf("-(%s)", a())
}

// local declares a variable in the current block.
func (g *ccbGenerator) local() {
	kind := g.Intn(len(ccbKinds))
	name := g.name("l")
	if kind >= ccbIntegers {
		g.line("%s %s = tame(%s);", ccbKinds[kind], name, g.real(2))
	} else {
		g.line("%s%s %s = %s;", g.pick("", "", "register ", "volatile "), ccbKinds[kind], name, g.expr(2))
	}
	g.vars = append(g.vars, ccbVariable{name, kind})
}

// aggregate declares a local array or struct with initial values.
func (g *ccbGenerator) aggregate() {
	name, p := g.name("l"), g.prefix
	switch g.Intn(3) {
	case 0:
		g.line("%s %s[%s] = { %s, %s, %s };", ccbKinds[g.Intn(ccbIntegers)], name, g.pick("", "3", "5"), g.expr(1), g.expr(2), g.expr(1))
		g.vars = append(g.vars, ccbVariable{name + "[2]", 6}, ccbVariable{name + "[" + g.variable(false).name + " & 1]", 6})
	case 1:
		g.line("struct %sS %s = { %s, %s, %s, %s, %s, %s, { %s }, %s, %s };", p, name, g.expr(1), g.expr(1), g.expr(1), g.expr(1), g.expr(1), g.expr(1), g.expr(1), g.expr(1), g.expr(1))
		g.vars = append(g.vars, ccbVariable{name + "." + g.member(), 6}, ccbVariable{name + "." + g.member(), 6})
	case 2:
		g.line("struct %sS %s[2] = { %ss1, { %s, 2 } }, *%sq = %s + (%s & 1);", p, name, p, g.expr(1), name, name, g.expr(1))
		g.vars = append(g.vars, ccbVariable{name + "q->" + g.member(), 6}, ccbVariable{name + "[1]." + g.member(), 6})
	}
}

func (g *ccbGenerator) block(depth, n int) {
	g.line("{")
	outer, vars := g.indent, len(g.vars)
	g.indent += "    "
	for i := g.Intn(3); i > 0; i-- {
		g.local()
	}
	if !g.inPure && g.Intn(4) == 0 {
		g.aggregate()
	}
	for i := 0; i < n; i++ {
		g.statement(depth - 1)
	}
	g.vars, g.indent = g.vars[:vars], outer
	g.line("}")
}

func (g *ccbGenerator) statement(depth int) {
	p := g.prefix
	if depth > 0 {
		switch g.Intn(12) {
		case 0:
			g.line("if (%s)", g.expr(3))
			g.block(depth, 1+g.Intn(2))
			if g.Intn(2) == 0 {
				g.line("else")
				g.block(depth, 1)
			}
			return
		case 1, 2:
			i := g.name("i")
			g.line("{ %s %s;", g.pick("int", "unsigned", "char", "long", "short"), i)
			g.line("for (%s = 0; %s < %d; %s)", i, i, 1+g.Intn(4), g.pick(i+"++", "++"+i, i+" += 1", i+" = "+i+" + 1"))
			g.loops++
			g.block(depth, 1+g.Intn(2))
			g.loops--
			g.line("}")
			return
		case 3:
			i := g.name("i")
			g.line("{ int %s = %d;", i, 1+g.Intn(4))
			g.loops++
			if g.Intn(2) == 0 {
				g.line("while (%s-- > 0)", i)
				g.block(depth, 1+g.Intn(2))
			} else {
				g.line("do")
				g.block(depth, 1+g.Intn(2))
				g.line("while (--%s > 0 && %s);", i, g.expr(1))
			}
			g.loops--
			g.line("}")
			return
		case 4:
			if g.Intn(3) == 0 {
				kind := ccbKinds[g.Intn(ccbIntegers)]
				g.line("switch ((%s)%s) {", kind, g.expr(2))
				g.line("case (%s)%s:", kind, g.pick("-1", "0x80000005", "0x8000000000000007", "200", "40000"))
				g.statement(depth - 1)
				g.line("case 0: case 1:")
				g.statement(depth - 1)
				g.line("break;")
				g.line("default:")
				g.statement(depth - 1)
				g.line("}")
				return
			}
			g.line("switch (%s & 7) {", g.expr(2))
			for i := g.Intn(3); i < 8; i += 1 + g.Intn(3) {
				g.line("case %d:", i)
				g.statement(depth - 1)
				if g.Intn(3) > 0 {
					g.line("break;")
				}
			}
			if g.Intn(2) == 0 {
				g.line("default:")
				g.statement(depth - 1)
			}
			g.line("}")
			return
		case 5:
			g.labels++
			label := fmt.Sprintf("%sL%d", p, g.labels)
			g.line("if (%s) goto %s;", g.expr(1), label)
			g.statement(depth - 1)
			g.line("%s:;", label)
			return
		case 6:
			g.block(depth, 2)
			return
		case 7:
			if g.loops > 0 {
				g.line("if (%s) %s;", g.expr(1), g.pick("break", "continue"))
				return
			}
		}
	}
	switch n := g.Intn(14); {
	case n < 4:
		g.line("%s = %s;", g.place(), g.expr(4))
	case n < 6:
		g.line("%s %s= %s;", g.place(), g.pick("+", "-", "*", "&", "|", "^"), g.expr(3))
	case n == 6:
		g.line("%s %s= (%s & 7);", g.place(), g.pick("<<", ">>"), g.expr(2))
	case n == 7:
		g.line("%s %s= (%s & 7) + 1;", g.place(), g.pick("/", "%"), g.expr(2))
	case n == 8:
		g.line(g.pick("%s++;", "%s--;", "++%s;", "--%s;"), g.place())
	case n == 9:
		for _, v := range g.vars {
			if v.kind >= ccbIntegers && g.Intn(3) == 0 {
				g.line("%s = tame(%s);", v.name, g.real(3))
				return
			}
		}
		g.line(";")
	case n == 10 && !g.inPure:
		a, b := g.name("t"), g.name("t")
		g.line("{ %s %s = %s; %s %s = %s;", ccbKinds[g.Intn(ccbIntegers)], a, g.expr(1), ccbKinds[g.Intn(ccbIntegers)], b, g.expr(1))
		g.line("%s = %s; bits(%s); bits(%s); }", a, g.pick(b+"++", b+"--", "++"+b, "--"+b, "("+b+" += "+g.expr(1)+")", "("+b+" = "+g.expr(2)+")", "("+g.place()+" "+g.pick("", "+", "-", "^", "*")+"= "+g.expr(2)+")", g.place()+g.pick("++", "--")), a, b)
	case n == 11 && !g.inPure:
		g.line("%s;", g.pick(p+"s1 = "+p+"s2", p+"s2 = "+g.expr(1)+" ? "+p+"s1 : *"+p+"sp", g.place()+" = "+p+"count("+g.expr(2)+")", g.place()+" = "+p+"fs("+p+"s2, "+g.expr(1)+")."+g.member(), p+"s2 = *"+p+"sp", p+"s2 = "+p+"fs("+p+"s1, "+g.expr(1)+")", p+"table["+g.expr(0)+" & 3] = "+p+"s1",
			p+"sp = &"+p+"table["+g.expr(0)+" & 3]", p+"sp = &"+p+"s2", p+"small = "+p+"fsmall("+p+"small, "+g.expr(1)+", "+p+"s1)"))
	case n == 12 && !g.inPure:
		g.line("bits(%s);", g.expr(3))
	default:
		g.line("%s = %s(%s);", g.place(), g.pick("", "(unsigned char)", "(short)"), g.expr(3))
	}
}

// program writes a program as functions of which the names start with a prefix,
// and returns the name of its main one.
func (g *ccbGenerator) program(prefix string) string {
	g.prefix = prefix
	p := prefix
	g.vars, g.funcs, g.fresh, g.labels, g.loops, g.indent = nil, nil, 0, 0, 0, ""
	g.line("enum { %sea = %d, %seb, %sec = -%d };", p, g.Intn(100), p, p, g.Intn(100))
	width := func(most int) int { return 1 + g.Intn(most) }
	g.line("struct %sS { %s a; %s b; int c : %d; unsigned d : %d; long e : %d; unsigned char f : %d;", p, g.pick(ccbKinds[:8]...), g.pick(ccbKinds[:8]...),
		width(32), width(31), width(31), width(8))
	g.line("  %s w[3]; struct { short x; %s y : %d; } in; union { unsigned char u8; unsigned short v16; }; %s k; int : %d; %s l; };",
		g.pick(ccbKinds[:8]...), g.pick("int", "unsigned", "short"), width(15), g.pick(ccbKinds[:8]...), g.Intn(2)*width(9), g.pick(ccbKinds[:8]...))
	g.line("struct %sSmall { %s m; %s n; };", p, g.pick(ccbKinds[:8]...), g.pick(ccbKinds[:8]...))
	constant := func() string {
		for {
			if l := g.literal(); !strings.HasPrefix(l, "sizeof") {
				return l
			}
		}
	}
	for i := 0; i < 6; i++ {
		kind := g.Intn(len(ccbKinds))
		if i < 2 {
			kind = g.Intn(ccbIntegers)
		}
		name := fmt.Sprintf("%sg%d", p, i)
		value := constant()
		if kind >= ccbIntegers {
			value = g.pick("1.5", "-0.25f", "3", "1e10", "0.1")
		}
		g.line("%s%s %s = %s;", g.pick("", "static "), ccbKinds[kind], name, value)
		g.vars = append(g.vars, ccbVariable{name, kind})
	}
	ip := g.Intn(ccbIntegers)
	g.line("static %s %siv = %s, *%sip = &%siv;", ccbKinds[ip], p, constant(), p, p)
	g.line("static %s %sarray[8] = { %s, %s, %s };", ccbKinds[g.Intn(ccbIntegers)], p, constant(), constant(), constant())
	g.line("%s %sgrid[2][3] = { { %s }, { %s, %s } };", ccbKinds[g.Intn(ccbIntegers)], p, constant(), constant(), constant())
	g.line("static struct %sS %ss1 = { %s, %s, %d, %d, %d, %d, { %s, %s }, { %s, 1 } }, %ss2, %stable[4] = { { 1, 2, 3 }, { 4, %s }, 5, 6, 7 };",
		p, p, constant(), constant(), g.Intn(2), g.Intn(2), g.Intn(2), g.Intn(2), constant(), constant(), constant(), p, p, constant())
	g.line("static struct %sS *%ssp = &%stable[%d];", p, p, p, g.Intn(4))
	g.line("static struct %sSmall %ssmall = { %s, %s };", p, p, constant(), constant())

	g.line("static const char *%sstring = %s;", p, g.pick(`"abcdefgh"`, `"\x80\377z" "\n\0\"q'"`, `"01234567" + 0`))
	g.line("static long %scount(long n) { static %s c = %s; static struct %sS s = { 1 }; s.d += c; c += n; return c ^ s.d; }", p, ccbKinds[g.Intn(ccbIntegers)], constant(), p)
	g.line("static long %sva(int n, ...) { va_list ap; long s = 0; struct %sSmall v; va_start(ap, n);", p, p)
	g.line("  if (n-- > 0) s += va_arg(ap, int); if (n-- > 0) s = s * 3 + va_arg(ap, long); if (n-- > 0) s += truncated(va_arg(ap, double)); if (n-- > 0) s ^= va_arg(ap, int);")
	g.line("  if (n-- > 0) { v = va_arg(ap, struct %sSmall); s += v.m - v.n; } if (n-- > 0) s += truncated(va_arg(ap, double)); va_end(ap); return s; }", p)
	real := func() string { return ccbKinds[ccbIntegers+g.Intn(3)] }
	g.line("static %s %sfd(%s a, %s b, %s c) { return a %s b %s c; }", real(), p, real(), real(), real(), g.pick("+", "-", "*"), g.pick("+", "-", "*", "<", ">="))
	globals := g.vars
	for f := 0; f < 3; f++ {
		g.vars = nil
		n := 2
		if f == 2 {
			n = 1 + g.Intn(7)
		}
		var params []string
		for i := 0; i < n; i++ {
			kind := g.Intn(len(ccbKinds))
			if i == 0 || f < 2 {
				kind = 6
			}
			name := fmt.Sprintf("%sa%d", p, i)
			params = append(params, ccbKinds[kind]+" "+name)
			g.vars = append(g.vars, ccbVariable{name, kind})
		}
		result := ccbKinds[g.Intn(ccbIntegers)]
		if f < 2 {
			result = "long"
		}
		g.line("static %s %sf%d(%s)", result, p, f, strings.Join(params, ", "))
		g.line("{")
		g.indent, g.inPure = "    ", true
		g.local()
		g.local()
		for i := 0; i < 3; i++ {
			g.statement(2)
		}
		g.line("return %s;", g.expr(3))
		g.indent, g.inPure = "", false
		g.line("}")
		g.funcs = append(g.funcs, n)
	}
	g.line("static long (*%sfp[2])(long, long) = { %sf0, &%sf1 };", p, p, p)
	g.line("static struct %sS %sfs(struct %sS s, long n) { s.a += n; s.c = n; s.in.y ^= n; return n & 1 ? s : %ss1; }", p, p, p, p)
	g.line("static struct %sSmall %sfsmall(struct %sSmall s, int n, struct %sS t) { s.m ^= n; s.n -= t.a + t.d; return s; }", p, p, p, p)
	g.vars = globals
	g.line("static void %smain(void)", p)
	g.line("{")
	g.indent = "    "
	g.line("int %sq;", p)
	for i := 0; i < 4; i++ {
		g.local()
	}
	for i := 0; i < 10; i++ {
		g.statement(3)
	}
	for _, v := range g.vars {
		if v.kind < ccbIntegers {
			g.line("bits(%s);", v.name)
		} else {
			g.line("real(%s);", v.name)
		}
	}
	g.line("bits(*%sip);", p)
	g.line("for (%sq = 0; %sq < 8; %sq++) bits(%sarray[%sq]);", p, p, p, p, p)
	g.line("for (%sq = 0; %sq < 6; %sq++) bits(%sgrid[%sq / 3][%sq %% 3]);", p, p, p, p, p, p)
	for _, s := range []string{"s1.", "s2.", "sp->", "table[0].", "table[3]."} {
		for _, m := range []string{"a", "b", "c", "d", "e", "f", "w[0]", "w[1]", "w[2]", "in.x", "in.y", "u8", "v16", "k", "l"} {
			g.line("bits(%s%s%s);", p, s, m)
		}
	}
	g.line("bits(%ssmall.m); bits(%ssmall.n); bits(sizeof(%ss1));", p, p, p)
	g.indent = ""
	g.line("}")
	return p + "main"
}

// ccbGenerated returns a text of n programs, each from a seed of its own.
func ccbGenerated(first int64, n int) string {
	var all strings.Builder
	all.WriteString("#include \"test.h\"\n")
	var mains []string
	for seed := first; seed < first+int64(n); seed++ {
		g := &ccbGenerator{Rand: rand.New(rand.NewSource(seed))}
		mains = append(mains, g.program(fmt.Sprintf("p%d_", seed)))
		all.WriteString(g.String())
	}
	all.WriteString("int main(void)\n{\n")
	for _, m := range mains {
		fmt.Fprintf(&all, "    text(\"%s\\n\");\n    %s();\n", m, m)
	}
	all.WriteString("    return 0;\n}\n")
	return all.String()
}

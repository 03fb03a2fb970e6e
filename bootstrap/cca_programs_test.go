package bootstrap

import (
	"fmt"
	"strings"
)

// ccaProgram is a program in the language of compiler A, after ccaPrelude.
type ccaProgram struct {
	name   string
	text   string
	status int
	want   string // of standard output, "" if gcc alone says it
}

const ccaStart = "long start(long argc, char **argv)\n{\n  long result = 0;\n  if (argc && argv)\n    result = run();\n  flush();\n  return result;\n}\n"

// ccaPrograms are small programs, by topic.
func ccaPrograms() []ccaProgram {
	var all []ccaProgram
	topic := ""
	count := 0
	add := func(file, body string, status int, want string) {
		count++
		text := file + "\nlong run(void)\n{\n" + body + "\n}\n" + ccaStart
		all = append(all, ccaProgram{fmt.Sprintf("%s-%d", topic, count), text, status, want})
	}
	begin := func(name string) { topic, count = name, 0 }
	// bodies that end with return 0
	each := func(file string, bodies ...string) {
		for _, body := range bodies {
			add(file, body+"\n  return 0;", 0, "")
		}
	}
	// expressions to print
	values := func(file, before string, expressions ...string) {
		for _, e := range expressions {
			add(file, before+"\n  n("+e+");\n  return 0;", 0, "")
		}
	}

	// Every binary operator with every kind of operand on both sides. The
	// values are small, so that nothing overflows in an int.
	begin("operator")
	kinds := []string{"%s", "local", "global", "letter", "letters[1]", "table[2]", "*pointer", "node->amount", "give(local)", "(local = %s)", "(char)global", "(long)letter"}
	for _, op := range []string{"+", "-", "*", "|", "^", "&", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "/", "%", "<<", ">>"} {
		var body strings.Builder
		body.WriteString("  long local = 5;\n  char letter = 3;\n  long *pointer = &table[1];\n  struct node *node = (struct node *)room;\n")
		body.WriteString("  node->amount = 6;\n  letters[1] = 7;\n")
		for i, left := range kinds {
			for j, right := range kinds {
				assigns := strings.HasPrefix(left, "(local =") || strings.HasPrefix(right, "(local =")
				if assigns && strings.Contains(left, "local") && strings.Contains(right, "local") {
					continue // the order is open
				}
				if left == right && strings.ContainsAny(op, "=<>") {
					continue // gcc warns
				}
				l, r := left, right
				if strings.Contains(l, "%s") {
					l = fmt.Sprintf(l, fmt.Sprint(3*i+2*j))
				}
				if strings.Contains(r, "%s") {
					r = fmt.Sprintf(r, fmt.Sprint(1+(i+3*j)%9))
				}
				if i == 0 && j == 0 {
					l = "12"
				}
				fmt.Fprintf(&body, "  n((%s) %s (%s));\n  local = %d;\n", l, op, r, 3+(i+j)%4)
			}
		}
		body.WriteString("  return 0;")
		add("struct node {\n  long amount;\n};\nlong room[4];\nlong global = 4;\nchar letters[3];\nlong table[] = { 9, 8, 2 };\nlong give(long a)\n{\n  return a + 1;\n}\n", body.String(), 0, "")
	}

	begin("signs")
	signs := "  long a = -7;\n  long b = 2;\n  char d = (char)200;\n"
	values("", signs,
		"a / b + d", "a % b - d", "a / -b * d", "(a % -b) ^ d", "(-a / b) | d", "(a >> b) & d", "(a << b) ^ d", "(a >> 63) + d * b", "(a < b) + (d < 0)",
		"(a > b) - d", "d / 7 + a * b", "d % 7 + a * b", "d >> 1 << b | a", "~a - ~b + ~d", "-a - -b - -d", "!a + !d + !b", "-d + a + b", "- - a + b + d",
		"!!a + !!b - !!d", "~~a == a + 0 * b * d", "(long)(char)(a * 100) + b + d", "(char)(d + 100) + a + b", "(char)(d - 100) * a * b")

	begin("wide")
	wide := "  long a = 0x123456789abcdef0;\n  long b = 4294967296;\n  long m = -9223372036854775807 - 1;\n"
	values("", wide,
		"a + b + m", "(a & 0xffffffff) + b * 3 + (m < 0)", "a >> 32 << 3 ^ b ^ m", "b * b + a - m / 2", "m / 3 + a / b", "m % 1000 + a % b", "(m >> 63) + (a >> 60) + b",
		"(a ^ 0x80000000) + (m ^ b)", "(a | 0xf000000000) - b - m / 4", "b - 1 == 0xffffffff && a && m", "a > 0xfffffffe && b > 0xffffffff && m", "a / 1000000007 + b % 65537 + (m != 0)", "m + 0x7fffffffffffffff + a / b",
		"(long)0xffffffffffffffff + (long)0x8000000000000001 / 2 + a + b + m / 4", "2147483647 + b + a + m", "2147483648 + b + a + m", "-2147483648 + b + a + m", "(long)0xffffffff * 5 + a + b + m / 5")

	begin("precedence")
	// gcc wants parentheses in some of these; the random programs have none.
	before := "  long a = 13;\n  long b = 5;\n  long d = 3;\n"
	values("", before,
		"a + b * d - a / d % b", "a - b - d", "a * b / d * a", "a << 1 << 2 >> (b - d)", "(a < b) == (b > d)", "(a & b) == (d | a)", "(a ^ b) | (d & a)", "(a == 13 && b == 5) || (d == 0 && a)",
		"(a || b) && d", "!(a - 13) * b + d", "-a * -b - ~d", "a - (b - (d - (a - (b - d))))", "((a + b) * (d + a)) % ((b + d) * 2)", "(a = b = d) + 0 * d", "a % b % d + a % (b % d)",
		"a / b / d + a / (b / d)", "((a + b) << 1 & 63) | d", "((a & 7) ^ b) | d << 2", "(1 + 2 * 3 - 4 / 2 % 3) << 1 | ((a & b) ^ d)")
	begin("circuit")
	circuit := "long calls;\nlong t(long a)\n{\n  calls = calls * 10 + a;\n  return a;\n}\n"
	each(circuit,
		"  n(t(1) && t(2)); n(calls);", "  n(t(0) && t(2)); n(calls);", "  n(t(0) || t(2)); n(calls);", "  n(t(3) || t(2)); n(calls);",
		"  n(t(1) && t(0) && t(3)); n(calls);", "  n((t(0) || t(0)) || t(7)); n(calls);", "  n((t(1) && t(0)) || t(5)); n(calls);", "  n(t(1) && (t(0) || t(5))); n(calls);",
		"  if (t(0) && t(1))\n    n(1);\n  else\n    n(2);\n  n(calls);", "  if (t(4) || t(1))\n    n(1);\n  n(calls);", "  n(!(t(1) && t(2)) + (t(0) || t(256))); n(calls);",
		"  n((1 && t(2)) + (0 || t(0))); n(calls);", "  n((0 && t(2)) + (1 || t(0))); n(calls);", "  long x = 0;\n  n(x && 10 / x);\n  n(x || 10 / (x + 1));", "  n((t(2) && t(3)) * 5 + (4 & (t(0) || t(1)))); n(calls);",
		"  char *p = 0;\n  n(p && *p);\n  p = \"\";\n  n(p && *p);\n  n(!p || !*p);", "  n(\"a\"[0] == 'a' && t(1));", "  long a = 0;\n  long b = 0;\n  n((a = 1) && (b = 0));\n  n(a * 2 + b);")

	begin("assign")
	each("long g;\nchar h;\nlong a[4];\nchar b[4];\nlong *p;\nchar *q;\n",
		"  long x = g = 5;\n  n(x + g);", "  long x;\n  long y;\n  long z;\n  x = y = z = 9;\n  n(x + y + z);", "  n(h = (char)300);\n  n(h);", "  long x = h = (char)-1;\n  n(x);", "  n(a[1] = 7);\n  n(a[1] + a[0]);",
		"  b[0] = (char)128;\n  n(b[0]);\n  n(b[0] & 255);", "  p = a;\n  *p = 3;\n  *(p + 1) = 4;\n  n(a[0] * 10 + a[1]);", "  q = b;\n  q[1] = 'x';\n  *q = 'y';\n  s(b);\n  c('\\n');", "  p = &g;\n  *p = *p + 1;\n  n(g);",
		"  q = &h;\n  *q = 7;\n  n(h);", "  long x = 1;\n  p = &x;\n  *p = 2;\n  n(x);", "  char x = 'a';\n  q = &x;\n  *q = (char)(*q + 1);\n  n(x);", "  a[a[0]] = a[1] = 2;\n  n(a[0]);", "  g = 3;\n  a[g] = g * 2;\n  a[a[3] - 5] = 8;\n  n(a[3]);\n  n(a[1]);",
		"  char x = (char)1000;\n  char y = x;\n  n(x - y + x);", "  long x = 5;\n  x = x + x * x;\n  x = -x;\n  n(x);", "  char w[3];\n  w[0] = 1;\n  w[1] = 2;\n  w[2] = (char)(w[0] = (char)(w[1] + 126));\n  n(w[0]);\n  n(w[2]);", "  h = 127;\n  h = (char)(h + 1);\n  n(h);")

	begin("pointer")
	pointers := "struct pair {\n  long one;\n  struct pair *two;\n};\nlong a[8];\nchar b[8];\nchar *names[] = { \"zero\", \"one\", \"two\", 0 };\n"
	each(pointers,
		"  long *p = a;\n  long *q = &a[5];\n  n(q - p);\n  n(p - q);", "  char *p = b;\n  char *q = b + 5;\n  n(q - p);\n  n((q - p) << 40);\n  n(p < q);", "  long *p = a + 3;\n  n(p == &a[3]);\n  n(p != a);", "  long *p = a;\n  n(3 + a == p + 3);\n  n(&a[7] - 2 == a + 5);",
		"  long *p = a;\n  p[2] = 5;\n  p = p + 2;\n  n(*p);\n  n(p[-2]);\n  n(*(p - 2));", "  long **p;\n  long *q = a;\n  a[0] = 77;\n  p = &q;\n  n(**p);\n  *p = a + 1;\n  **p = 78;\n  n(a[1]);", "  struct pair *p = (struct pair *)a;\n  n((p + 1) - p);\n  n((long *)(p + 1) - a);\n  n((char *)(p + 3) - (char *)p);",
		"  struct pair *p = (struct pair *)a;\n  (p + 1)->one = 9;\n  (&p[1])->two = p;\n  n(a[2]);\n  n((p + 1)->two == p);", "  char **p = names;\n  while (*p) {\n    s(*p);\n    c(' ');\n    p = p + 1;\n  }\n  n(p - names);",
		"  n(names[1][0]);\n  n(*names[2]);\n  n(**names);\n  n(*(*names + 1));", "  char *p = 0;\n  n(p == 0);\n  n(!p);\n  long *q = a;\n  n((q && p) * 2 + (p || q) * 3 + !p * 5 - !q * 7);\n  n((0 == p) * 2);\n  n((0 != p) * 2);\n  n((p == 0) * 2);\n  p = b;\n  n((0 != p) * 2 + (a < (long *)p) * 0);\n  n(p != 0);\n  if (p)\n    n(1);", "  long x = (long)a;\n  n((long *)x == a);\n  n(((long *)(x + 8)) - a);", "  char *p = (char *)a;\n  a[0] = 0x4142;\n  n(p[0]);\n  n(p[1]);\n  n(p[2]);",
		"  long n2 = 3;\n  long *p = &a[n2];\n  n(p - n2 == a);\n  n(&p[-n2] == a);\n  n(n2 + a == p);", "  n(*&a[1]);\n  long x = 5;\n  n(*&x);\n  n(*&*&x);", "  char *p = \"hello\";\n  n(p[4]);\n  n(*(p + 1));\n  n(\"abc\"[2]);\n  n(*\"q\");\n  n(*(\"xyz\" + 1));",
		"  long *p = a;\n  *(p = p + 1) = 6;\n  n(a[1]);", "  char **q = &names[1];\n  s(q[0]);\n  s(q[-1]);\n  s(*(q + 1));\n  c('\\n');", "  n((a + 4) - (a + 1));\n  n((&a[4] - &a[1]) * 2);\n  long *p = a;\n  n(a + 1 > p && a <= p && p >= a && a < p + 1);", "  n((long *)40 - (long *)16);\n  n((char *)40 - (char *)16);\n  n((long *)16 - (long *)40);\n  n((struct pair *)48 - (struct pair *)16);\n  n((long)((long *)16 + 3));\n  n((long)(2 + (struct pair *)16));", "  long *p = a + 8;\n  while (p > a) {\n    p = p - 1;\n    *p = p - a;\n  }\n  n(a[7]);\n  n(a[3]);")

	begin("struct")
	structs := "struct tree;\nstruct list {\n  struct tree *here;\n  struct list *next;\n};\nstruct tree {\n  long key;\n  struct tree *left;\n  struct tree *right;\n  char *label;\n  long **deep;\n};\n" +
		"long heap[1000];\nlong used;\nchar *room(long size)\n{\n  char *p = (char *)&heap[used];\n  used = used + size / 8;\n  return p;\n}\n" +
		"struct tree *put(struct tree *t, long key)\n{\n  if (!t) {\n    t = (struct tree *)room((long)sizeof(struct tree));\n    t->key = key;\n    return t;\n  }\n  if (key < t->key)\n    t->left = put(t->left, key);\n  else\n    t->right = put(t->right, key);\n  return t;\n}\n" +
		"void show(struct tree *t)\n{\n  if (t) {\n    show(t->left);\n    n(t->key);\n    show(t->right);\n  }\n}\n"
	each(structs,
		"  struct tree *t = 0;\n  long i;\n  for (i = 1; i < 40; i = i + 1)\n    t = put(t, i * 17 % 41);\n  show(t);", "  n((long)sizeof(struct tree));\n  n((long)sizeof(struct list));\n  n((long)sizeof(struct tree *));\n  n((long)sizeof(char) + (long)sizeof(char *) * 10 + (long)sizeof(long) * 100);",
		"  struct tree *t = put(0, 4);\n  t->left = t;\n  n(t->left->left->left->key);\n  t->left->left->key = 6;\n  n(t->key);", "  struct tree *t = put(0, 4);\n  t->label = \"leaf\";\n  s(t->label);\n  n(t->label[2]);\n  n(*t->label);", "  struct tree *t = put(0, 4);\n  long *p = &t->key;\n  *p = 8;\n  n(t->key);\n  t->deep = &p;\n  **t->deep = 9;\n  n(t->key);\n  n(t->deep[0][0]);",
		"  struct list *l = (struct list *)room(160);\n  struct list *m = l + 3;\n  m->next = l;\n  m->next->here = put(0, 3);\n  n(l->here->key);\n  n(m - l);\n  n(!m->here);", "  struct tree *t = put(0, 1);\n  t->key = t->key + t->key * 4;\n  n(t->key = t->key - 1);\n  n((t->left = t)->key);", "  n((&((struct tree *)heap)->right == (struct tree **)&heap[2]));\n  n(&((struct tree *)heap)[2] == (struct tree *)&heap[10]);",
		"  struct tree *t = put(put(0, 5), 3);\n  if (t->left && !t->right)\n    n(t->left->key);\n  while (t->left)\n    t = t->left;\n  n(t->key);")

	begin("array")
	arrays := "enum { SIZE = 10, LAST = SIZE - 1, MASK = 1 << 4 | 3 };\nlong a[SIZE];\nlong b[] = { 1, -2, SIZE * 2, 0x7fffffffffffffff, LAST & 5, -9223372036854775807, 'x', (3 + 4) * 2 };\nchar d[SIZE + 3];\nchar e[] = { 'a', 'b', 0, -1, };\nchar *f[] = { \"one\", 0, \"three\" };\nlong *g[4];\nlong h[SIZE / 5 * 3];\nlong after = 8;\n"
	each(arrays,
		"  long i;\n  for (i = 0; i < 8; i = i + 1)\n    n(b[i]);", "  s(e);\n  n(e[3]);\n  n(after);", "  s(f[0]);\n  s(f[2]);\n  n(f[1] == 0);", "  g[1] = a;\n  g[1][2] = 4;\n  n(a[2]);\n  n(*(g[1] + 2));\n  n(g[0] == 0);", "  long i;\n  for (i = 0; i < SIZE; i = i + 1)\n    a[i] = i * i;\n  n(a[LAST] + a[a[2]]);",
		"  long i;\n  for (i = 0; i < SIZE + 2; i = i + 1)\n    d[i] = (char)('a' + i);\n  s(d);\n  n(d[LAST]);", "  char x[5];\n  long y[3];\n  char z[1];\n  long i;\n  for (i = 0; i < 5; i = i + 1)\n    x[i] = (char)i;\n  for (i = 0; i < 3; i = i + 1)\n    y[i] = -1;\n  z[0] = 7;\n  n(x[4] + y[2] + z[0]);\n  n(x[0] + y[0]);",
		"  long *y[3];\n  long x = 4;\n  y[2] = &x;\n  y[0] = y[2];\n  *y[0] = 5;\n  n(x);\n  char *z[2];\n  z[1] = \"end\";\n  s(z[1]);", "  n((a + 1) - &a[0]);\n  n(&h[5] - h);\n  n(a[SIZE - 1] + h[5]);", "  a[3] = 3;\n  a[a[a[3]]] = 4;\n  n(a[3]);", "  n(MASK);\n  n(LAST);")

	begin("string")
	each("",
		`  n(s("a\n\t\r\0b"));`, `  n(s("\\\'\"'\x41\x7e\n"));`, `  n("\xff"[0]);`, `  n(s("// no comment /* nor this */"));`, `  n('\n' + '\0' + '\\' + '\'' + '"' + '\"' + 'a' + '\x7f');`, `  n('\xff');`, `  n('\x80' & 255);`, "  s(\"\xc3\xa4\\n\");", `  n(s(""));`, `  char *p = "same";
  char *q = "other";
  n(s(p) + s(q));`, `  n(s("`+strings.Repeat("long ", 1000)+`"));`, `  s("a" + 1);
  s(&"bcd"[1]);
  n(!"x");`, `  c('\''); c('"'); c('/'); c('*'); c('\\');`)

	begin("if")
	for a := range 3 {
		for b := range 2 {
			each("", fmt.Sprintf("  long a = %d;\n  long b = %d;\n  if (a)\n    n(1);\n  if (a == 1) {\n    n(2);\n    if (b)\n      n(3);\n    else\n      n(4);\n  } else if (a == 2)\n    n(5);\n  else {\n    if (b) {\n      if (!a)\n        n(6);\n    } else\n      n(7);\n  }\n  if (b) {\n  } else\n    n(8);\n  if (!b) {\n    ;\n  }", a, b))
		}
	}

	begin("loop")
	each("",
		"  long i = 0;\n  while (i < 5) {\n    n(i);\n    i = i + 1;\n  }", "  long i = 10;\n  while ((i = i - 1))\n    n(i);", "  long i;\n  for (i = 0; i < 3; i = i + 1)\n    n(i);\n  n(i);", "  long i = 0;\n  for (; i < 3;)\n    i = i + 1;\n  n(i);", "  long i = 0;\n  for (;;) {\n    i = i + 1;\n    if (i == 7)\n      break;\n  }\n  n(i);",
		"  long i;\n  for (i = 0; i < 10; i = i + 1) {\n    if (i % 3 == 0)\n      continue;\n    n(i);\n  }", "  long i = 0;\n  while (i < 10) {\n    i = i + 1;\n    if (i % 2)\n      continue;\n    if (i > 7)\n      break;\n    n(i);\n  }", "  long i;\n  long j;\n  for (i = 0; i < 4; i = i + 1)\n    for (j = 0; j < 4; j = j + 1) {\n      if (j > i)\n        break;\n      if (j == 1)\n        continue;\n      n(i * 10 + j);\n    }",
		"  long i;\n  for (i = 0; i < 4; i = i + 1) {\n    long j = 0;\n    while (1) {\n      j = j + 1;\n      if (j == i)\n        break;\n      if (j > 5)\n        break;\n    }\n    if (i == 2)\n      continue;\n    n(j);\n  }", "  long i;\n  for (i = 0; i < 3; i = i + 1)\n    ;\n  n(i);\n  while (i < 9)\n    i = i + 4;\n  n(i);", "  long i = 5;\n  for (i = 1; i < 100; i = i * 3) {\n    if (i == 9)\n      continue;\n    n(i);\n  }",
		"  long i = 3;\n  while (i) {\n    long k = i;\n    while (k) {\n      k = k - 1;\n      if (k == 1)\n        break;\n    }\n    n(k);\n    i = i - 1;\n  }", "  while (0)\n    n(1);\n  for (; 0;)\n    n(2);\n  n(3);", "  long i = 0;\n  for (n(10); i < 2; n(20)) {\n    n(30);\n    i = i + 1;\n  }", "  long i = 0;\n  for (;; i = i + 1) {\n    if (i < 5)\n      continue;\n    break;\n  }\n  n(i);", "  char *p;\n  for (p = \"loop\"; *p; p = p + 1)\n    n(*p);")
	each("", "  long i;\n  long k;\n  for (i = 0; i < 3; i = i + 1) {\n    for (k = 0;; k = k + 1) {\n      if (k > i)\n        break;\n      n(k);\n    }\n    for (;;) {\n      k = k + 5;\n      if (k > 20)\n        break;\n    }\n    n(k);\n  }")
	add("long f(long a)\n{\n  while (1) {\n    if (a > 10)\n      return a;\n    a = a * 2;\n  }\n}\n", "  n(f(1) + f(3));\n  return 3;", 3, "")

	begin("scope")
	each("long x = 1;\nlong f(long x)\n{\n  x = x + 1;\n  {\n    long x = 100;\n    x = x + 1;\n    n(x);\n  }\n  return x;\n}\n",
		"  n(x);\n  n(f(5));\n  n(x);", "  long x = 2;\n  {\n    long x = 3;\n    n(x);\n    {\n      n(x);\n      char x = 'x';\n      n(x);\n    }\n    n(x);\n  }\n  n(x);", "  {\n    long a = 1;\n    n(a);\n  }\n  {\n    long b = 2;\n    n(b);\n    long c2[2];\n    c2[0] = b;\n    c2[1] = 3;\n    n(c2[0] + c2[1]);\n  }\n  n(x);", "  x = 5;\n  long y = x;\n  long x = 7;\n  n(x + y);", "  long i;\n  for (i = 0; i < 3; i = i + 1) {\n    long t = i;\n    t = t * 2;\n    n(t);\n  }", "  if (x) {\n    long x = 8;\n    n(x);\n  } else {\n    long x = 9;\n    n(x);\n  }\n  n(x);",
		"  long a = 1;\n  { long b = 2; { long c2 = 3; { long d = 4; n(a + b + c2 + d); } long e = 5; n(e + c2); } }\n  long f2 = 6;\n  n(f2 + a);", "  long run = 4;\n  n(run);\n  long printed_length = 3;\n  n(printed_length);\n  long argc = 2;\n  n(argc);")
	each("struct x {\n  long x;\n};\nenum { y = 3 };\nlong x[3];\n", "  struct x *z = (struct x *)x;\n  z->x = 5;\n  n(x[0]);\n  n(y);\n  long y = 4;\n  n(y);\n  { struct x *x = z; n(x->x); }")

	begin("function")
	each("long eight(long a, char b, long *d, char *e, long f, char g, long h, long i)\n{\n  *d = *d + 1;\n  return a + b * 10 + *d * 100 + e[1] * 1000 + f * 10000 + g * 100000 + h * 1000000 + i * 10000000;\n}\nchar narrow(long a)\n{\n  return (char)a;\n}\nchar take(char a)\n{\n  a = (char)(a + 1);\n  return a;\n}\nvoid nothing(void)\n{\n}\nvoid early(long a)\n{\n  if (a)\n    return;\n  n(5);\n}\nlong *where(long *p, long i)\n{\n  return p + i;\n}\nlong even(long a);\nlong odd(long a)\n{\n  if (a == 0)\n    return 0;\n  return even(a - 1);\n}\nlong even(long a)\n{\n  if (a == 0)\n    return 1;\n  return odd(a - 1);\n}\nlong ackermann(long a, long b)\n{\n  if (!a)\n    return b + 1;\n  if (!b)\n    return ackermann(a - 1, 1);\n  return ackermann(a - 1, ackermann(a, b - 1));\n}\nlong fibonacci(long a)\n{\n  if (a < 2)\n    return a;\n  return fibonacci(a - 1) + fibonacci(a - 2);\n}\nlong even(long another);\nlong later(long a);\n",
		"  long x = 3;\n  n(eight(1, 2, &x, \"abc\", 4, 5, 6, -7));\n  n(x);", "  n(narrow(300));\n  n(narrow(-129) + narrow(128));", "  n(take(127));\n  n(take((char)255));\n  n(take((char)1000));", "  nothing();\n  early(0);\n  early(1);", "  long a[3];\n  *where(a, 1) = 8;\n  n(a[1]);\n  n(where(a, 2) - a);\n  n(where(where(a, 1), 1) == &a[2]);\n  where(a, 0)[1] = 2;\n  n(a[1]);", "  n(even(10));\n  n(odd(7));\n  n(even(5));", "  n(ackermann(2, 3));", "  n(fibonacci(20));",
		"  n(narrow(1) + narrow(2) * narrow(3) - narrow(fibonacci(7)));", "  n(fibonacci(fibonacci(6)) + take((char)fibonacci(8)));", "  n(1 + (2 + (3 + fibonacci(5))));\n  n(fibonacci(3) << fibonacci(4) >> fibonacci(1));", "  n(where(0, 5) == (long *)40);", "  char x = 5;\n  n(eight(x, x, (long *)&printed_length, \"\\0\\0\", x, x, x, x) & 1);")
	add("long f(void);\nlong g(void)\n{\n  return f() + f();\n}\nlong f(void)\n{\n  return 4;\n}\nlong h(void)\n{\n  return f() * 2 + g();\n}\n", "  n(g());\n  n(h());\n  return f();", 4, "8\n16\n")

	// names that are nearly those of the entry and of the system call
	add("long sys3(long number, long a, long b, long c);\nlong sys(long a)\n{\n  return a;\n}\nlong sys4(long a)\n{\n  return a + 1;\n}\nlong sys33(void)\n{\n  return sys3(39, 0, 0, 0) > 0;\n}\nchar star(void)\n{\n  return 3;\n}\nlong starx(char a)\n{\n  return a;\n}\nlong starts(void)\n{\n  return 5;\n}\nlong stort(void)\n{\n  return 6;\n}\n", "  n(sys(1) + sys4(2) + sys33() + star() + starx(4) + starts() + stort());\n  return 0;", 0, "23\n")

	begin("status")
	for _, status := range []int{0, 1, 42, 255} {
		add("", fmt.Sprintf("  return %d;", status), status, "")
	}
	add("", "  return 256 + 7;", 7, "")
	add("", "  return -1;", 255, "")
	add("", "  flush();\n  sys3(60, 9, 0, 0);\n  return 0;", 9, "")

	begin("system")
	each("", "  n(sys3(3, 99, 0, 0));", "  n(sys3(2, (long)\"/none\", 0, 0));", "  n(sys3(1, 1, (long)\"direct\\n\", 7));", "  long two[2];\n  n(sys3(22, (long)two, 0, 0) + sys3(1, 4, (long)\"ab\", 2) * 10);\n  char b[4];\n  b[2] = '!';\n  b[3] = 0;\n  n(sys3(0, 3, (long)b, 2));\n  s(b);")

	begin("enum")
	each("enum { A, B, C = 10, D, E = -5, F, G = B + C * 2, H = 'x', I = 0x7fffffff, J = -2147483647 - 1, K = (3 | 4) & 6 << 1, };\nenum { ONE = 1 };\nenum { FIRST };\nenum { SIZED = (long)sizeof(long) * 2 };\n",
		"  n(FIRST); n(A); n(B); n(C); n(D); n(E); n(F);", "  n(G); n(H); n(I); n(J); n(K);", "  n(A + ONE); n(-E); n(D * C); n(!A); n(~F); n(SIZED);", "  long a[D];\n  a[C] = D;\n  n(a[10]);", "  long i;\n  for (i = A; i < D; i = i + ONE)\n    if (i == C)\n      n(i);")

	begin("constant")
	values("long a = 1 + 2 * 3;\nlong b = -(4 << 3) / 5;\nlong d = ~7 & 255;\nchar e = 'e' - 1;\nchar *f = \"text\";\nlong g = (long)0xffffffffffffffff;\nlong *h = 0;\nlong i = (char)200 + (char)100;\nlong j = !5 + !0 * 2 + (3 < 4) + (5 >= 6) + (1 == 1) + (2 != 2) * 8 + (1 > 2) + (7 <= 7);\nlong k = 100 % 7 ^ 9;\nlong l = -17 >> 2;\nlong m = 0xffffffff;\nlong o = (long)sizeof(long *) + 2;\nchar p = -128;\nlong q = 4294967296 * 5 / 3;\n", "",
		"a + b", "d * e", "f[2]", "g", "h == 0", "i", "j", "k + l", "m", "o", "p", "q", "7 * (2 - 9) / 2 % 5 + a", "(1 << 10 | 3) + a", "(long)sizeof(long) - 9 + a", "-0 + ~0 + !0 + a", "(char)(1000 + 23) + a", "a + 3 - 3 - 3 * 1 * 0")
	each("", "  n(0); n(1); n(-1); n(127); n(128); n(255); n(256); n(65535); n(2147483647); n(2147483648); n(-2147483648); n(-2147483649);", "  n(4294967295); n(4294967296); n(-4294967296); n(9223372036854775807); n(-9223372036854775807); n(0x7fffffffffffffff); n(0xffffffff); n(0x80000000); n(0XaBcDeF); n(0x0);",
		"  long x = 5;\n  n(x + 4294967295); n(x + 0xffffffff); n(x - 2147483648); n(x * -2147483648); n(x + 4294967296); n(4294967296 - x); n(-2147483648 - x); n(2147483648 / x); n(0x123456789 % x);")

	begin("unsigned") // what has no sign in C, but gives the same
	values("struct three {\n  long v;\n  long w;\n  long x3;\n};\n", "  long x = 12345678901;\n  char y = -3;\n  long *p = &x;\n",
		"x * y * (long)sizeof(long) + *p", "(long)(x * sizeof(struct three)) + y + *p", "(x & 0xffffffff) + y + *p", "(y & 0xffffffff) + x + *p", "(x | 0x80000000) + y + *p", "(long)(x + sizeof(long)) - y + *p", "*(p + sizeof(long) - sizeof(long)) + x + y", "(x == (long)0x8000000000000000) + y + *p", "(x & 0xf000000000000000) + y != 0 || *p", "(long)(sizeof(long) << 3) + x + y + *p", "(long)(sizeof(long) << 40) + x + y + *p", "(long)(x & 0xffffffffffffff00) + y + *p", "x + (long)0xfffffffff0000000 + y + *p", "(x >> sizeof(char)) + y + *p", "(0xffffffff >> 4) + x + y + *p", "(x > 0xffffffff) + y + *p", "x / 0xfffffffe + y + *p", "!0xffffffff + !sizeof(long) + x + y + *p", "(x && 0x8000000000000000) + y + *p")

	begin("comment")
	add("/* a */ // b\n/* * ** / // */ long/**/x/* */=/**/4;// c */\n/*/ long y; /*/\n", "  n(x/1 /* / */ /2); // n(9);\n  n(8//*\n    /2);\n  /**/ return 0 /***/ ; /* \" ' */", 0, "2\n4\n")

	begin("layout")
	add("long\nx\n=\n3\n;\tlong y;long z;struct t{long u;struct t*v;};", "long a=x+y;long*b=&a;*b=*b-1;if(a==2)n(a);else n(-a);while(a>0)a=a-1;for(;a<3;a=a+1);n(a);struct t*w=(struct t*)b;n(w->u-z-0);n(a- -a);n(a-(-a));n(- -a);n(a&&a);n(a& *&a);n(a<-a);return a;", 3, "")
	add("long "+strings.Repeat("n", 60)+" = 6;\nlong _ = 1;\nlong _9aZ = 2;\nlong longer = 3;\nlong iff = 4;\nlong For = 5;\n", "  n("+strings.Repeat("n", 60)+" + _ * 10 + _9aZ + longer + iff + For);\n  return 0;", 0, "30\n")

	begin("deep")
	add("", "  long a = 1;\n  n("+strings.Repeat("(a + ", 200)+"0"+strings.Repeat(")", 200)+");\n  n("+strings.Repeat("- ", 200)+"a);\n  n("+strings.Repeat("a - (", 99)+"a"+strings.Repeat(")", 99)+");\n  return 0;", 0, "200\n1\n0\n")
	add("", "  long a = 0;\n  "+strings.Repeat("{ if (a == 0) { while (a < 1) { ", 30)+"a = a + 1;"+strings.Repeat(" } } }", 30)+"\n  n(a);\n  return 0;", 0, "1\n")
	add("", "  long a = 40;\n  "+func() string {
		var b strings.Builder
		for i := range 60 {
			fmt.Fprintf(&b, "if (a == %d)\n    n(%d);\n  else ", i, i*i)
		}
		return b.String()
	}()+"n(0);\n  return 0;", 0, "1600\n")
	add("long f(long a)\n{\n  if (a)\n    return f(a - 1) + 1;\n  return 0;\n}\n", "  n(f(10000));\n  return 0;", 0, "10000\n")
	add("long f(long a, long b)\n{\n  return a * 2 + b;\n}\n", "  n("+strings.Repeat("f(1, ", 40)+"0"+strings.Repeat(")", 40)+");\n  n("+strings.Repeat("f(", 20)+"1"+strings.Repeat(", 3)", 20)+");\n  return 0;", 0, "80\n4194301\n")

	begin("whole")
	add("char sieve[1000];\n", "  long i;\n  long j;\n  for (i = 2; i < 1000; i = i + 1)\n    if (!sieve[i]) {\n      n(i);\n      for (j = i * i; j < 1000; j = j + i)\n        sieve[j] = 1;\n    }\n  return 0;", 0, "")
	add("long board[8];\nlong found;\nvoid queens(long row)\n{\n  long column;\n  long other;\n  if (row == 8) {\n    found = found + 1;\n    return;\n  }\n  for (column = 0; column < 8; column = column + 1) {\n    for (other = 0; other < row; other = other + 1)\n      if (board[other] == column || board[other] - column == row - other || column - board[other] == row - other)\n        break;\n    if (other == row) {\n      board[row] = column;\n      queens(row + 1);\n    }\n  }\n}\n", "  queens(0);\n  n(found);\n  return 0;", 0, "92\n")
	add("long hash(char *p)\n{\n  long h = 5381;\n  while (*p) {\n    h = ((h << 5) + h + (*p & 255)) & 0xffffffff;\n    p = p + 1;\n  }\n  return h;\n}\n", "  n(hash(\"\"));\n  n(hash(\"The quick brown fox\"));\n  n(hash(\"\\xff\\x80\"));\n  return 0;", 0, "")
	add("long v[50];\nvoid sort(long low, long high)\n{\n  long i = low;\n  long j = high;\n  long pivot = v[(low + high) / 2];\n  while (i <= j) {\n    while (v[i] < pivot)\n      i = i + 1;\n    while (v[j] > pivot)\n      j = j - 1;\n    if (i <= j) {\n      long t = v[i];\n      v[i] = v[j];\n      v[j] = t;\n      i = i + 1;\n      j = j - 1;\n    }\n  }\n  if (low < j)\n    sort(low, j);\n  if (i < high)\n    sort(i, high);\n}\n", "  long i;\n  long r = 1;\n  for (i = 0; i < 50; i = i + 1) {\n    r = r * 1103515245 % 2147483648 + 12345;\n    v[i] = r % 1000 - 500;\n  }\n  sort(0, 49);\n  for (i = 0; i < 50; i = i + 1)\n    n(v[i]);\n  return 0;", 0, "")
	add("long power(long b, long e, long m)\n{\n  long r = 1;\n  while (e) {\n    if (e & 1)\n      r = r * b % m;\n    b = b * b % m;\n    e = e >> 1;\n  }\n  return r;\n}\n", "  n(power(3, 1000003, 1000007));\n  n(power(2, 62, 2147483647));\n  return 0;", 0, "")
	return all
}

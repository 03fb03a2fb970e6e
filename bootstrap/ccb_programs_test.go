package bootstrap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ccbTexts are programs by topic; gcc says what each must do. Those with no
// main get one that calls t.
var ccbTexts = map[string]string{
	"promotion": `void t(void) {
		unsigned char c = 200, d = 100; signed char s = -1; unsigned short h = 65535; short i = -32768;
		number(c + d); number(c * d); number((unsigned char)(c + d)); number(s + 1u); number(s < 0u); number(s < c);
		number(~c); number(-h); number(h * 2); number(i - 1); number(!c); number(c << 8); number(s >> 1); number((unsigned char)s >> 1); }`,
	"usual conversions": `void t(void) {
		int i = -1; unsigned u = 1; long l = -1; unsigned long ul = 1;
		number(i < u); number(i > u); number(l < u); number(l < ul); number(i + u); number(i * ul); number(u - 2); number(u - 2L);
		number(i / 2u); number(l / 2u); number(i % 3u); number(i >> 31); number((unsigned)i >> 31); number(1 ? i : u); number((1 ? i : ul) > 5); }`,
	"wrapping": `void t(void) {
		int a = 2147483647; unsigned b = 4294967295u; long c = 9223372036854775807L; unsigned long d = -1UL;
		number(a + 1); number(b + 1); number(c + 1); bits(d + 1); number(a * 3); number(b * b); bits(d * d); number(-(-a - 1)); number(a << 1); number(b << 31); }`,
	"division": `void t(void) {
		int i = -7, j = 2; unsigned u = 7; long l = -7; unsigned long m = -7;
		number(i / j); number(i % j); number(i / -j); number(i % -j); number(u / j); number(l / j); number(l % j); bits(m / 3); number(m % 3); number(i / 2u); }`,
	"shifts": `void t(void) {
		int i = -256, n = 33; unsigned u = 0x80000000; long l = -256; unsigned long m = 1; unsigned char c = 255; signed char s = -128;
		number(i >> 4); number(u >> 31); number(u >> 3); bits(l >> 60); bits(m << 63); bits((m << 63) >> 63); bits(m << n); number(c << 4); number(s >> 3); number(1 << 30); l <<= 3; number(l); c >>= 1; number(c); c <<= 7; number(c); }`,
	"literals": `void t(void) {
		number(sizeof(1)); number(sizeof 1L); number(sizeof 2147483648); number(sizeof 0x80000000); number(sizeof 0xffffffffff); number(sizeof 1u); number(sizeof 'a'); number(sizeof "abc"); number(sizeof 1.0); number(sizeof 1.0f); number(sizeof 1.0L);
		number(0x80000000 > -1); number(2147483648 > -1); number(010); number('\x41'); number('\101'); number('\xff'); number("\377"[0]); number('\''); number("a\0b"[2]); number(0xffffffffffffffffu > 0); }`,
	"strings": `char a[] = "abc"; char b[10] = "xy"; char c[3] = "xyz"; char *p = "one" " " "two"; char *q[] = { "a", "bc", "def" }; char r[][4] = { "ab", "cde" };
		void t(void) { char l[] = "local"; char m[8] = { "init" }; static char s[] = "static";
		text(a); text(b); text(p); text(q[2]); text(r[1]); text(l); text(m); text(s); number(sizeof a); number(sizeof b); number(sizeof l); number(sizeof r); number(c[2]); number(b[9] + m[7]); number("hello"[4]); number(*("xyz" + 1)); }`,
	"assignment values": `void t(void) { int a; char c; unsigned char u; short s; a = c = 300; number(a); a = u = -1; number(a); s = a = 70000; number(s); number(a = 5); number((c = 127) + 1); a = 3; a += a *= 2; number(a > 0); }`,
	"compound assignment": `void t(void) { int i = 10; char c = 100; unsigned char u = 250; long l = 5; double d = 1.5; unsigned x = 7; int *p = &i;
		i += 5; i -= 2; i *= 3; i /= 4; i %= 7; i |= 8; i &= 13; i ^= 3; i <<= 2; i >>= 1; number(i); c += 100; number(c); u += 10; number(u); l *= d; number(l); d += i; real(d); x -= 10; number(x); i *= 1.5; number(i); *p += 1; number(i); u /= 3; number(u); c *= 2; number(c); }`,
	"increments": `struct s { char c; int b : 3; unsigned u : 4; } s = { 127, 3, 15 };
		void t(void) { int a[4] = { 1, 2, 3, 4 }, i = 0, *p = a; double d = 0.5; char c = 127; unsigned char u = 0; float f = 1.25f;
		number(i++); number(++i); number(i--); number(--i); number(*p++); number(*++p); number((*p)++); number(*p); number(*p--); number(--*p); number(a[i++]); number(a[++i]); real(d++); real(--d); number(c++); number(c); number(u--); number(u); number(s.c++); number(s.c); number(s.b++); number(s.b); number(s.u++); number(s.u); real(f++); real(f); number(p - a); }`,
	"logic":       `int n; int f(int x) { n++; return x; } void t(void) { number(f(0) && f(1)); number(n); number(f(1) || f(0)); number(n); number(f(2) && f(3)); number(!f(0)); number(!!5); number(f(0) || f(0)); number((1 && 0) | (0 || 7)); number(n); if (f(1) && !f(0) || f(3)) number(9); while (!(n > 20 || f(0))) ; number(n); number(0.5 && 1); number(!0.0); number(0.0 || -0.0); number(0.1f && 1); }`,
	"conditional": `void t(void) { int i = 5; char *s = "x"; void *v = 0; const char *c; number(i ? 1 : 2); number(i > 5 ? 1 : i < 5 ? 2 : 3); number(sizeof(1 ? 1 : 1L)); real(i ? 1 : 2.0); c = i ? s : 0; text(c); c = i ? v : s; number(c == 0); number((i ? s : v) == s); (i ? (void)0 : (void)1); number(i ? i, 7 : 8); number((0 ? 1u : -1) > 0); }`,
	"comma":       `void t(void) { int i, j; for (i = 0, j = 10; i < j; i++, j--) ; number(i); number((i = 3, i + 1)); i = (1, 2, 3); number(i); }`,
	"pointers": `int a[10]; void t(void) { int *p = a, *q = a + 7, **r = &p; char *c = (char *)a; long n = 2; unsigned char k = 3; unsigned u = 1;
		number(q - p); number(p + 3 == &a[3]); number(p < q); *(p + n) = 5; number(a[2]); number(2[a]); number(*(*r + 2)); c[4] = 1; number(a[1]); p += k; number(p - a); p -= u; number(p - a); number(&a[5] - &a[2]); number((char *)q - (char *)a); number(q[-5]); number(!p); number(p != 0); number((long)(p + 1) - (long)p); number(&*p == p); number(&p[1] - p); }`,
	"arrays of arrays": `int a[3][4] = { { 1, 2 }, { 3 }, { 4, 5, 6, 7 } }; int b[2][2][2] = { 1, 2, 3, 4, 5, 6, 7, 8 }; char *n[2][2] = { { "a", "b" }, { "c" } };
		int sum(int x[][4], int n) { int i, j, s = 0; for (i = 0; i < n; i++) for (j = 0; j < 4; j++) s = s * 3 + x[i][j]; return s; }
		void t(void) { int (*p)[4] = a; int *q = a[1]; number(a[2][3]); number(sizeof a); number(sizeof a[0]); number(p[1][0]); number((*(p + 2))[1]); number(q[4]); number(b[1][0][1]); number(sum(a, 3)); text(n[1][0]); number(n[1][1] == 0); number(&a[2][0] - &a[0][0]); number((*p)[1]); p++; number(**p); }`,
	"structs": `struct point { int x, y; }; struct line { struct point a, b; char name[4]; } l = { { 1, 2 }, { 3, 4 }, "ab" }, *lp = &l;
		struct node { int v; struct node *next; }; union u { int i; char c[4]; struct { short lo, hi; } h; };
		void t(void) { struct point p = { 7 }, *q = &p, r; struct node a = { 1, 0 }, b = { 2, &a }; union u u; number(l.b.y); number(lp->a.x); p.y = 8; r = p; r.x++; number(p.x); number(r.x); number(q->y); *q = l.b; number(p.x); number(b.next->v); u.i = 0x12345678; number(u.c[0]); number(u.h.hi); number(sizeof(struct line)); number(sizeof u); number(sizeof(l.name)); (q = &r)->y = 1; number(r.y); number((&l)->b.x); lp->b = lp->a; number(l.b.y); }`,
	"struct layout": `struct a { char c; short s; int i; long l; char d; }; struct b { char c; double d; }; struct c { char x[3]; struct a a; char y; }; union d { char c; long l; short s[5]; }; struct e { char c; struct { char d; int e; } f; }; struct f { }; struct g { char a; long double b; };
		#define off(t, m) ((long)&((struct t *)0)->m)
		int table[off(c, y)]; enum { K = off(a, l) };
		void t(void) { number(sizeof(struct a)); number(sizeof(struct b)); number(sizeof(struct c)); number(sizeof(union d)); number(sizeof(struct e)); number(sizeof(struct g)); number(off(a, i)); number(off(c, a.l)); number(off(e, f.e)); number(sizeof table); number(K); }`,
	"bit-fields": `struct b { unsigned a : 3; int b : 5; unsigned c : 1; int : 0; unsigned d : 31; int e : 2; unsigned char f : 4; char g : 5; long h : 40; unsigned long i : 30; short j : 9; } x; struct c { char a; int b : 4; char c; } y; struct d { int a : 8; int : 4; int b : 8; int c : 20; } z = { -1, -2, -3 };
		void t(void) { struct b l = { 9, 15, 1, 5, -1, 15, -16, -5, 3, 255 }; number(sizeof x); number(sizeof y); number(sizeof z); x.a = 13; x.b = 17; x.c = 3; x.d = -1; x.e = 2; x.f = 20; x.g = 16; x.h = 1L << 39; x.i = -1; x.j = 256;
		number(x.a); number(x.b); number(x.c); number(x.d); number(x.e); number(x.f); number(x.g); number(x.h); number(x.i); number(x.j); number(z.a); number(z.b); number(z.c); number(l.a); number(l.b); number(l.d); number(l.g); number(l.h); number(l.j); number(x.a = 12); number(x.b += 20); number(x.a - 5 < 0); number(-x.a < 0); number(x.d - 1 > 0); x.a |= 1; x.d >>= 3; number(x.d); number(x.a); l = x; number(l.h); }`,
	"bit-field unions":  `union u { struct { unsigned a : 4, b : 4, c : 8; } s; unsigned short w; unsigned char c; }; void t(void) { union u u; u.w = 0; u.s.b = 5; u.s.c = 255; number(u.w); u.c = 0x12; number(u.s.a); number(u.s.b); number(sizeof u); }`,
	"anonymous members": `struct s { int a; union { int b; char c[4]; struct { short d, e; }; }; struct { int f; }; } x = { 1, { 2 }, { 3 } }; void t(void) { struct s *p = &x; number(x.b); number(p->f); p->d = 7; number(x.c[0]); x.e = 1; number(x.b); number((long)&((struct s *)0)->f); }`,
	"struct values": `struct s { int a; char b[9]; }; struct t1 { char c; }; struct big { long v[20]; };
		struct s make(int a, char c) { struct s s; s.a = a; s.b[0] = c; s.b[8] = 1; return s; } struct s twice(struct s s, int n, struct t1 q) { s.a *= n; s.b[0] += q.c; return s; } struct big fill(struct big b, int n) { int i; for (i = 0; i < 20; i++) b.v[i] += n + i; return b; } long sum(struct big b) { int i; long s = 0; for (i = 0; i < 20; i++) s = s * 3 + b.v[i]; return s; } struct s (*fp)(int, char) = make;
		void t(void) { struct t1 q = { 3 }; struct s x = make(5, 'a'), y; struct big b = { { 1, 2, 3 } }; y = twice(x, 3, q); number(y.a); number(y.b[0]); number(x.a); number(make(7, 'b').a); number(twice(twice(x, 2, q), 2, q).b[0]); number(sum(fill(fill(b, 1), 2))); number(fp(9, 'c').b[8]); number((1 ? x : y).a); number((x = y).a); number((0, y).b[0]); b = fill(b, 7); number(b.v[19]); }`,
	"function pointers": `int add(int a, int b) { return a + b; } int sub(int a, int b) { return a - b; } int (*op[2])(int, int) = { add, &sub }; typedef int (*binary)(int, int); int apply(binary f, int a, int b) { return f(a, b); } int apply2(int f(int, int), int a) { return (*f)(a, a); } binary choose(int i) { return i ? add : sub; } int (*choose2(int i))(int, int) { return op[i]; } struct s { binary f; } s = { sub };
		void t(void) { int (*f)(int, int) = add; number(f(1, 2)); number((*f)(3, 4)); number((**f)(3, 4)); number(op[1](9, 4)); number(apply(sub, 5, 3)); number(apply2(add, 4)); number(choose(0)(8, 3)); number(choose2(0)(8, 3)); number(s.f(1, 2)); number((&s)->f(1, 5)); number(f == add); number(f != sub); f = s.f; number((f ? f : add)(7, 7)); number(sizeof f); }`,
	"variadic": `long sum(int n, ...) { va_list ap; long s = 0; va_start(ap, n); while (n--) s += va_arg(ap, int); va_end(ap); return s; } struct s { long a, b; char c; };
		void mixed(char *f, ...) { va_list ap; struct s s; va_start(ap, f); for (; *f; f++) switch (*f) { case 'i': number(va_arg(ap, int)); break; case 'l': number(va_arg(ap, long)); break; case 'd': real(va_arg(ap, double)); break; case 's': text(va_arg(ap, char *)); break; case 'S': s = va_arg(ap, struct s); number(s.a + s.c); break; case 'L': real(va_arg(ap, long double)); break; } va_end(ap); }
		void pass(int n, va_list ap) { while (n--) number(va_arg(ap, int)); } void outer(int n, ...) { va_list ap; va_start(ap, n); pass(n, ap); va_end(ap); }
		void t(void) { struct s s = { 5, 6, 7 }; char c = -3; unsigned short h = 65535; float f = 2.5f; number(sum(4, 1, -2, c, h)); mixed("ildsSiL", c, -5L, f, "text\n", s, h, 1.25L); outer(3, 7, 8, 9); number(sum(0)); }`,
	"eight parameters": `long f(char a, unsigned char b, short c, unsigned short d, int e, unsigned g, long h, double i) { return a + b * 2 + c * 3 + d * 5 + e * 7 + g * 11 + h * 13 + (long)i * 17; } float half(float x, int n, float y) { return x / 2 + n + y; }
		void t(void) { number(f(-1, 255, -2, 65535, -3, 4000000000u, -4, -5.5)); number(f(300, 300, 70000, 70000, 5000000000, -1, 7, 3)); real(half(3, 2, 0.1)); real(half(1, 'a', 2)); }`,
	"parameters as variables": `int f(char c, short s, unsigned char u) { c++; s += c; u--; c = c * 2; return c + s * 1000 + u * 1000000; } int g(int a[3], int n) { a[1] = n; a++; return *a; } void t(void) { int a[3] = { 1, 2, 3 }; number(f(127, 32767, 0)); number(g(a, 9)); number(a[1]); }`,
	"recursion":               `int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); } int odd(int n); int even(int n) { return n == 0 ? 1 : odd(n - 1); } int odd(int n) { return n == 0 ? 0 : even(n - 1); } int ack(int m, int n) { if (!m) return n + 1; if (!n) return ack(m - 1, 1); return ack(m - 1, ack(m, n - 1)); } void t(void) { number(fib(20)); number(even(101)); number(ack(2, 5)); }`,
	"scopes":                  `int x = 1; void t(void) { int y = x; { int x = 2; y += x; { extern int x; y += x * 10; } { static int x = 5; x++; y += x * 100; } } { struct x { int x; } z = { 3 }; enum { x = 4 }; y += z.x * 1000 + x * 10000; } { typedef char x; x c = 5; y += sizeof(x) + c; } number(y); for (int x = 0; x < 3; x++) { int x = 7; y += x; } number(y + x); }`,
	"static":                  `static int f(void) { static int n = 5; static char b[3]; return n++ + b[0]++; } int g(int x) { static int last; int old = last; last = x; return old; } static int u; void t(void) { number(f()); number(f()); number(f()); number(g(3)); number(g(4)); number(u); { static int n; n += 2; number(n); } }`,
	"loops":                   `void t(void) { int i, n = 0; for (i = 0; i < 10; i++) { if (i == 3) continue; if (i == 8) break; n += i; } number(n); i = 5; while (i) { i--; if (i & 1) continue; n++; } number(n); do { n--; if (n == 20) break; } while (n > 15); number(n); for (;;) { if (++i > 4) break; } number(i); do continue; while (i++ < 7); number(i); while (1) { for (;;) break; break; } for (long j = 3; j; j--) n += j; number(n); }`,
	"switch": `int f(int x) { int r = 0; switch (x) { case 1: r++; case 2: r += 10; break; case -5: return 7; case 'a': { r = 5; break; } default: r = 100; case 1000000: r += 3; } return r; } int g(unsigned char c) { switch (c) { case 255: return 1; case 0: return 2; } return 3; } int h(long l) { switch (l) { case 0x100000000: return 1; case -0x100000000: return 2; case 0: return 3; } return 4; } int k(unsigned u) { switch (u) { case -1: return 1; case 0x80000000: return 2; } return 3; }
		void t(void) { int i; number(f(1)); number(f(2)); number(f(-5)); number(f('a')); number(f(9)); number(f(1000000)); number(g(-1)); number(g(256)); number(g(1)); number(h(0x100000000)); number(h(-0x100000000)); number(h(1)); number(k(0xffffffff)); number(k(1u << 31)); for (i = 0; i < 5; i++) { switch (i) { case 1: continue; case 3: break; default: number(i); } } switch (3) { int z; case 3: z = 4; number(z); } switch (1) default: number(8); switch (i) { } i = 6; switch (i) { do { case 5: number(1); case 6: number(2); } while (++i < 8); } }`,
	"goto": `void t(void) { int i = 0; again: if (i < 3) { number(i++); goto again; } goto in; { int x; in: x = 5; number(x); } for (i = 0; i < 3; i++) { int j; for (j = 0; j < 3; j++) if (i * j == 2) goto out; } out: number(i); goto end; number(99); end:; } int other(void) { goto end; end: return 1; }`,
	"enums": `enum color { RED, GREEN = 5, BLUE, LAST = BLUE + 10 } c = BLUE; enum neg { MINUS = -1, ZERO }; enum { BIG = 0x7fffffff }; typedef enum { A1, B1 = 'x' } kind; struct s { kind k : 8; enum neg n; } s = { B1, MINUS };
		void t(void) { enum color d = LAST; enum neg n = MINUS; number(c); number(d); number(n < 0); number(sizeof c); number(GREEN * 2); number(s.k); number(s.n); number(BIG + 0); number(d > -1); number(n > -2); switch (d) { case LAST: number(1); break; case RED: number(2); } }`,
	"typedefs": `typedef int T; typedef T *TP, TA[3], TF(int); typedef struct s { T a; struct s *n; } S; typedef unsigned long size; T x = 3; TA a = { 1, 2, 3 }; TF f; int f(int y) { return y + 1; } typedef char *str; int g(T T) { return T * 2; } struct m { T T; };
		void t(void) { TP p = &x; S s = { 4, 0 }; TF *q = f; struct m m = { 6 }; const T c = 5; str z = "z"; int T = 8; number(*p); number(sizeof(TA)); number(q(4)); s.n = &s; number(s.n->n->a); number((size)-1 > 0); number(T); number(g(c)); number(m.T); text(z); { T = 9; } number(T); }`,
	"initialisers": `struct s { int a; struct { char b; short c[2]; } d; char *e; int f[3]; } x = { 1, { 2, { 3, 4 } }, "e", { 5, 6 } }, y = { 1, 2, 3, 4, "f", 5 }, z[] = { { 1 }, { 2, { 3 } }, 4, 5, 6, 7, "g" }; int a[] = { 1, 2, 3, }, b[5] = { 9 }; void t(void) { number(sizeof z / sizeof *z); number(x.d.c[1]); text(y.e); number(y.f[0]); number(z[2].d.c[1]); text(z[2].e); number(sizeof a); number(b[0] + b[4]); }`,
	"brace elision": `struct p { int x, y; }; struct s { int a; struct p p[2]; char c[4]; union { int i; char k; } u; } x[] = { 1, 2, 3, 4, 5, "abc", 6, { 7, { { 8, 9 }, 10 }, { 'x', 'y' }, { 11 } }, 12, { 13, 14 } }; int a[2][3] = { 1, 2, 3, 4 }; int b[][2] = { { 1 }, { 2, 3 }, 4 }; struct { char n[3][3]; int k; } q = { "a", "b", { 'c' }, 5 }; int scalar = { 5 };
		void t(void) { struct p g = { 1, 2 }; struct s l = { 1, g, { 3, 4 }, "z", 5 }, m[2] = { { 1 }, x[0] }; int i; number(sizeof x / sizeof *x); for (i = 0; i < 3; i++) { number(x[i].a); number(x[i].p[0].x); number(x[i].p[0].y); number(x[i].p[1].x); number(x[i].p[1].y); number(x[i].c[1]); number(x[i].u.i); } number(a[1][0]); number(sizeof b); number(b[2][0]); number(b[2][1]); text(q.n[1]); number(q.n[2][0]); number(q.k); number(scalar); number(l.p[0].y); number(l.p[1].y); number(l.u.i); number(m[0].u.i); number(m[1].u.i); number(m[1].c[2]); }`,
	"address constants": `int a[5] = { 1, 2, 3, 4, 5 }; struct s { int x; int y[3]; struct { char c; } z; } s; int *p = a + 2, *q = &a[4] - 1, *r = &s.y[1]; char *c = &s.z.c, *d = (char *)&a[1] + 1, *e = "hello" + 2; long l = (long)&a[1]; void *v = &p; int **w = &p; void f(void) { } void (*g)(void) = f, (*h)(void) = &f; long off = (long)&((struct s *)8)->z; struct s *sp = &s; struct { int *p; struct s *s; } k[] = { { a, &s }, { 0, (struct s *)0 } }; int *self[2] = { (int *)&self[1], (int *)self }; char (*ap)[6] = &"array"; unsigned long neg = -1L;
		void t(void) { number(*p); number(*q); number(r - s.y); number(c == &s.z.c); number(*d); text(e); number(l == (long)(a + 1)); number(v == (void *)&p); number(**w); number(g == h); number(off); number(k[0].s == sp); number(k[1].p == 0); number(self[0] == (int *)&self[1]); number((*ap)[4]); bits(neg); }`,
	"tentative":          `int x; int x; extern int x; int x; int arr[]; int arr[4]; static int s; static int s; struct later *lp; struct later { int a; }; struct later l; extern int y; int y = 6; int f(); int f(int a); int f(int a) { return a; } void t(void) { x = 3; arr[3] = 4; number(x + arr[3] + s + y + f(2)); lp = &l; lp->a = 9; number(l.a); }`,
	"local aggregates":   `void t(void) { int i = 3, a[4] = { i, i * 2, a[0] + 1 }; struct { int x; char s[5]; int *p; } s = { i + 1, "hi", &i }; char z[100] = ""; int n[2][2] = { { i }, { i, i + 1 } }, k = 0; for (i = 0; i < 4; i++) number(a[i] * 0 + (i != 2 ? a[i] : 0)); number(s.x); text(s.s); number(*s.p); for (i = 0; i < 100; i++) k += z[i]; number(k); number(n[1][1]); number(s.s[4]); { char u[] = { 'a', 'b', 0 }; text(u); number(sizeof u); } }`,
	"const and volatile": `const int c = 5; volatile int v; const char *const s = "s"; char *const p = 0; const volatile unsigned long int cv = 7; int const *ip = &c; void f(const int *a, register int b, char *restrict r) { number(*a + b); } inline static int g(void) { return 3; } extern inline int h(void) { return 1; } void t(void) { register int r = 4; auto int a = 5; volatile int *vp = &v; v = 6; number(*vp + r + a); f(ip, c, 0); number(cv); text(s); number(g()); number(p == 0); }`,
	"declarators": `int (*(*f)(int))[3]; int arr[3] = { 1, 2, 3 }; int (*g(int x))[3] { return &arr; } int *(*h[2])(void); int *one(void) { return arr; } char (*(*pp)[2])(char); char up(char c) { return c - 32; } char (*tab[2])(char) = { up, up }; int (x), *(y), (*(z)); void (*sig(int n, void (*fn)(int)))(int) { return fn; } void pr(int n) { number(n); } int (*(*(*deep)(void))[2])(void); unsigned long int long a1; long unsigned a2; short int unsigned a3; signed a4; long int a5; signed char a6;
		void t(void) { f = g; number((*f(1))[2]); h[0] = one; number(*h[0]()); pp = &tab; number((*pp)[1]('a')); z = &x; *z = 5; number(x); sig(1, pr)(9); number(sizeof(int (*)[3])); number(sizeof(int *[3])); number(sizeof(char (*(*)[2])(char))); number(sizeof a1 + sizeof a2 + sizeof a3 + sizeof a4 + sizeof a5 + sizeof a6); number((long)(int (*)(void))7); }`,
	"sizeof": `struct s { int a; char b[7]; }; int n; int side(void) { n++; return 1; } void t(void) { struct s s, *p = &s; char a[10], *q = a; number(sizeof s); number(sizeof(struct s)); number(sizeof p->b); number(sizeof *p); number(sizeof a); number(sizeof q); number(sizeof *q); number(sizeof side()); number(n); number(sizeof(a)[0]); number(sizeof(int) * 3); number(sizeof a / sizeof *a); number(sizeof(1 + 1L)); number(sizeof 'a' - 5 > 0); number(sizeof &a); number(sizeof -1); number(sizeof(char[3][5])); }`,
	"casts":  `void t(void) { int i = 0x12345678; long l = -1; double d = -3.7; unsigned char *p = (unsigned char *)&i; number((char)i); number((unsigned char)l); number((short)i); number((unsigned)l); number((long)(unsigned)l); number((long)(int)4294967295u); number((int)d); number((unsigned char)(int)d); number((long)d); real((double)i / 3); real((float)i); number((int)(float)16777217); number(p[1]); number((unsigned long)(char)200 > 1000); number((int)(char)128); number((long)(char *)5); (void)i; number(-(unsigned)1 > 0); number((unsigned short)-1); number((signed char)255 == -1); }`,
	"doubles": `double g = 1.5, h = -2, big = 1e300, tiny = 5e-324, k = 3; float f = 0.1f, f2 = 1.0 , f3 = 16777217; double arr[] = { 1, 2.5, -3.25e2, .5, 5., 0x1.8p1, 1e-310, 1.7976931348623157e308, 4.35, 0.1, 123456789012345678, 9007199254740993.0 };
		void t(void) { int i; double d; real(g + h); real(g - h); real(g * h); real(g / h); real(-g); real(+h); number(g < h); number(g > h); number(g <= 1.5); number(g >= 1.5); number(g == 1.5); number(g != h); real(big * big); d = big * big - big * big; number(d == d); number(d != d); number(d < 1); number(d >= 1); number(!(d < 1)); if (d) number(1); real(tiny); real(f); real(f + f2); real(f3); for (i = 0; i < 12; i++) real(arr[i]); real(k / 7); d = 0; number(!d); number(-d == d); real(-d); number(d ? 1 : 2); real(1 / 3.0f); real(f * 3); real(f * 3.0); real(1.0f / 3.0f); i = 7; real(i / 2); real(i / 2.0); d = i; real(d); i = 2.99; number(i); i = -2.99; number(i); d += 1; d++; real(d); real(d > 5 ? d : i); f += 1; real(f); f *= 1e30f; f *= 1e30f; real(f); real((float)1e-50); }`,
	"floats and integers": `void t(void) { unsigned long ul[] = { 0, 1, 9223372036854775807u, 9223372036854775808u, 18446744073709551615u, 9223372036854777857u, 18446744073709550591u }; long l[] = { -1, 9007199254740993, -9223372036854775807L - 1, 123456789123456789 }; unsigned u = 4294967295u; int i; for (i = 0; i < 7; i++) { real(ul[i]); real((float)ul[i]); } for (i = 0; i < 4; i++) { real(l[i]); real((float)l[i]); } real(u); real((float)u); bits((unsigned long)1e19); bits((unsigned long)9.3e18f); number((unsigned)3e9); number((long)-1e18); number((unsigned char)200.9); number((short)-3000.5f); number((char)'a' + 0.0 == 97); bits((unsigned long)18446744073709549568.0); }`,
	"long doubles": `long double g = 1.5L, a[2] = { 1, -0x1p-16382L }; struct s { char c; long double d; } s = { 1, 2.5 }; long double f(long double x, int n, long double y) { return n ? f(x, n - 1, y) * x : y; } double h(long double x) { return x; } union u { long double d; unsigned short w[8]; };
		void show(long double d) { union u u; int i; u.d = d; for (i = 4; i >= 0; i--) bits(u.w[i]); }
		void t(void) { long double x = 3, y; unsigned long m = 18446744073709551615u; float q; double d = 0.1; show(g); show(a[1]); show(s.d); show(0.1L); show(d); show(1e4000L); show(x / 3); show(x / 7); show(f(1.1L, 5, 2)); real(h(g)); show(m); m = (long double)m; bits(m); number((long)-g); number((unsigned char)x); y = x++; show(y); show(x); x -= 0.5; show(x); number(x < y); number(x > y); number(x <= y); number(x == x); number(x != y); number(!x); if (x) number(1); x = 0; number(x || -x); show(-x); q = 1 / 3.0L; real(q); show(q); show(1.0f + g); show(x ? g : y); show((x, g)); y = g = 7; show(y); real(1e300L * 1e300L); show(1e4932L * 10); show(123456789012345678901234567890.0L); show(3.6e-4951L); real((double)0.1L); show(5); show(-5L); show(5u); }`,
	"bits of floats": `union f { float f; unsigned u; }; union d { double d; unsigned long u; }; void t(void) { union f f; union d d; f.f = 1; bits(f.u); f.f = -0.0f; bits(f.u); f.u = 1; real(f.f); f.f = 3.40282346e38f; bits(f.u); f.f = 1.17549435e-38f; bits(f.u); f.f = 1.4e-45f; bits(f.u); f.f = 0.7e-45f; bits(f.u); d.d = 2.2250738585072014e-308; bits(d.u); d.d = 2.2250738585072011e-308; bits(d.u); d.d = 2.4703282292062328e-324; bits(d.u); d.d = 1.7976931348623159e308; bits(d.u); d.d = 0x1.fffffffffffff8p0; bits(d.u); d.d = 0x1.fffffffffffff7p0; bits(d.u); d.d = 8.5e22; bits(d.u); d.d = 1e23; bits(d.u); d.d = 0.500000000000000166533453693773481063544750213623046875; bits(d.u); d.d = 1.00000000000000011102230246251565404236316680908203125; bits(d.u); f.f = 16777217.0f; bits(f.u); f.f = 16777217.0000001; bits(f.u); f.f = 0.1; bits(f.u); }`,
	"macros": `#define ONE 1
		#define ADD(a, b) ((a) + (b))
		#define CAT(a, b) a ## b
		#define XCAT(a, b) CAT(a, b)
		#define STR(a) #a
		#define XSTR(a) STR(a)
		#define EMPTY
		#define CALL(f, ...) f(__VA_ARGS__)
		#define LOG(f, ...) CALL(f, ##__VA_ARGS__)
		#define F(x) x + G
		#define G(x) F(x)
		#define TWICE(x) x x
		#define NOTHING(x)
		int SELF1 = 3; int CAT(va, r) = 4; int XCAT(n, ONE) = 5;
int self(void) { int SELF = 2;
		#define SELF SELF + 1
		return SELF - 1; }
		void t(void) { int G = 1; number(ADD(ONE, ADD(2, 3))); number(SELF1); number(var); number(n1); text(STR(a + "b\n" 'c' )); text(XSTR(ONE ONE)); text(STR( x   y )); number(CALL(ADD, 1, 2)); LOG(number, 7); number(self()); number(F(1)); number(F(3)(4)); text(TWICE("x")); NOTHING(garbage) number(ADD (1, (2, 3) EMPTY)); number(ADD(ADD(1, 2), ADD(3, 4))); }`,
	"conditionals": `#define A 1
		#define B
		#if A && defined(B) && !defined C
		#define R1 1
		#else
		#error no
		#endif
		#ifdef C
		#error no
		#elif A == 2
		#error no
		#elif (A + 1) * 2 == 4 && -1 < 0 && 0xffffffffffffffff > 0u && -1 > 0u
		#define R2 2
		#else
		#endif
		#if 0
		#if 1
		#else
		#endif
		don't "worry
		#elif 1
		# define R3 3
		#endif
		#ifndef A
		#else
		#undef A
		#ifndef A
		#define R4 (0 ? 1 / 0 : 4)
		#endif
		#endif
		#if 1 || 1 / 0
		#endif
		#if 'a' == 97 && '\n' == 10 && (1 ? 2 : 1/0) == 2 && 7 / 2 == 3 && -7 / 2 == -3 && (1 << 4 | 3) == 19 && ~0 == -1 && UNKNOWN == 0
		#define R5 5
		#endif
		void t(void) { number(R1); number(R2); number(R3); number(R4); number(R5); }`,
	"lines": `#define M(x) __LINE__ + x
		#define JOIN "a\
b"
		// a comment \
		that goes on
		/* one
		   two */
		void t(void) { number(__LINE__); number(M(0));
		text(JOIN); number(__LINE__); /* x
		*/ number(__LINE__); text(__FILE__[0] ? "file" : ""); int a = 8 /*x*/ / /**/ 2; number(a); number(M(
		0) * 0); text("/*" "//"); number(4 //**/ 2
		); }`,
	"include": `#define FILE_NAME "part.h"
		#include FILE_NAME
		#undef FILE_NAME
		#include <part.h>
		void t(void) { number(part_1 + part_2); }`,
	"stringify": `#define S(x) #x
		#define P(...) #__VA_ARGS__
		void t(void) { text(S("a\0b\\" '"' "'")); text(S()); text(P(a, b,c)); text(S(a/**/b)); text(S(@)); text(S(
		x
		y)); }`,
	"variadic macros": `#define A(...) f(__VA_ARGS__)
		#define B(x, ...) x(1, ##__VA_ARGS__)
		#define C(x, y...) A(x, ##y)
		int f(int n, ...) { va_list ap; int s = n; va_start(ap, n); while (n--) s = s * 10 + va_arg(ap, int); return s; }
		void t(void) { number(A(0)); number(A(2, 3, 4)); number(B(f, 5)); number(C(0)); number(C(1, 9)); number(A((1, 2), (3, 4), 5)); }`,
	"setjmp": `jmp_buf b, c; int n; void g(int x) { longjmp(b, x); } void f(int x) { int pad[10]; pad[3] = x; g(pad[3]); } int twice(void) { volatile int i = 0; int r = setjmp(c); i++; if (r < 3) longjmp(c, r + 1); return i * 10 + r; } void t(void) { volatile int local = 5; int r = setjmp(b); number(r); number(local); if (r < 3) { local += 10; f(r + 1); } number(n); number(twice()); }`,
	"sorting": `void swap(char *a, char *b, long n) { while (n--) { char t = *a; *a++ = *b; *b++ = t; } } void sort(void *base, long n, long size, int (*cmp)(const void *, const void *)) { long i, j; char *b = base; for (i = 1; i < n; i++) for (j = i; j > 0 && cmp(b + j * size, b + (j - 1) * size) < 0; j--) swap(b + j * size, b + (j - 1) * size, size); } int byint(const void *a, const void *b) { return *(int *)a - *(int *)b; } struct p { char n[3]; short v; }; int byv(const void *a, const void *b) { return ((struct p *)b)->v - ((struct p *)a)->v; }
		void t(void) { int a[] = { 5, -3, 9, 0, 2 }, i; struct p p[] = { { "a", 3 }, { "b", 7 }, { "c", 5 } }; sort(a, 5, sizeof *a, byint); for (i = 0; i < 5; i++) number(a[i]); sort(p, 3, sizeof *p, byv); for (i = 0; i < 3; i++) text(p[i].n); }`,
	"lists":      `struct node { struct node *left, *right; int key; } pool[50]; int used; struct node *insert(struct node *n, int key) { if (!n) { n = &pool[used++]; n->key = key; return n; } if (key < n->key) n->left = insert(n->left, key); else if (key > n->key) n->right = insert(n->right, key); return n; } void walk(struct node *n) { if (n) { walk(n->left); number(n->key); walk(n->right); } } void t(void) { struct node *root = 0, **pp; int i; for (i = 0; i < 20; i++) root = insert(root, i * 7 % 13); walk(root); for (pp = &root; *pp; pp = &(*pp)->right) ; *pp = &pool[49]; (*pp)->key = 99; walk(root); }`,
	"hashing":    `unsigned hash(const char *s) { unsigned h = 2166136261u; while (*s) h = (h ^ (unsigned char)*s++) * 16777619; return h; } unsigned long h64(const char *s) { unsigned long h = 14695981039346656037u; for (; *s; ++s) { h ^= *s; h *= 1099511628211; } return h; } unsigned rot(unsigned x, int n) { return x << n | x >> (32 - n); } void t(void) { unsigned crc = ~0u, i; int k; bits(hash("hello")); bits(h64("hello")); bits(rot(0xdeadbeef, 7)); for (i = 0; i < 100; i++) { crc ^= i; for (k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1; } bits(~crc); }`,
	"precedence": `void t(void) { int a = 2, b = 3, c = 4, x[3] = { 1, 2, 3 }, *p = x; number(a + b * c); number(a - b - c); number(a << b + 1); number(a & b == 3); number(a | b ^ c & 1); number(a < b == 1); number(!a + 1); number(-a * -b); number(~a & 7); number(a ? b : c ? 1 : 2); number(a = b = c); number((a > b ? a : b, 5)); number(*p++ + *p); number(-*p); number(sizeof a + 1); number((char)a + 300); number(a % b * c); number(a / b * b + a % b); number(a || b && 0); number(a != b & 1); number(- - a); number(!-a); number(&x[1] == x + 1); number(1 << 2 << 3); number(100 / 10 / 5); number(2 - -2); }`,
	"comments": `/**/ int a = 1; /* * / */ int b = 2; // int c = 3; /*
		int d = 3 /* x */ + /* y // */ 5; // \ x
		void t(void) { char *s = "/* no comment */ // neither"; text(s); number(b); number(a//*
		/1); }`,
	"conditional lvalues":  `struct s { int a[3]; struct s *n; } x = { { 1, 2, 3 }, &x }, y; void t(void) { int i = 1, *p = &i; *(i ? p : 0) = 5; number(i); (i ? &x : &y)->a[1] = 7; number(x.a[1]); number((i, x).a[2]); number((&x)->n->n->a[0]); y = *x.n; number(y.a[1]); (*x.n).a[0]++; number(x.a[0]); number((p = &x.a[2], *p)); (&y)[0].a[0] = 3; number(y.a[0]); }`,
	"unused values":        `int n; int f(void) { return n++; } void v(void) { n += 10; } struct s { int a; } g(void) { struct s s; s.a = n; n++; return s; } void t(void) { f(); (void)f(); v(); n; n + 1; n++; f(), f(); n ? f() : f(); n && f(); g(); g().a; *&n; ; {} number(n); }`,
	"void pointers":        `void copy(void *to, const void *from, unsigned long n) { char *t = to; const char *f = from; while (n--) *t++ = *f++; } void *id(void *p) { return p; } void t(void) { int a = 5, b = 0, *p; void *v = &a; copy(&b, v, sizeof a); number(b); p = id(v); number(*p); number(*(int *)v); number(v == p); number((char *)v + 1 == (char *)p + 1); v = (char *)v + 4; number((int *)v - p); }`,
	"long conditions":      `void t(void) { long l = 0x100000000; unsigned long u = 1UL << 63; char c = 0; if (l) number(1); if (!l) number(2); number(l && 1); number(l ? 3 : 4); while (u) { u >>= 40; number(5); } if (c == 0 && l != 0) number(6); for (; l; l >>= 8) number(l); if ((int)0x100000000) number(7); number(!0x100000000); }`,
	"deep nesting":         `int f(int a, int b, int c, int d) { return a * 1000 + b * 100 + c * 10 + d; } void t(void) { int a = 1; number(f(f(1, 2, 3, 4), f(a, a + 1, f(a, a, a, a), a), a++ * 0, ((((((((((a + 1) * 2) - 3) * 4) + 5) % 7) << 2) | 1) ^ 3) & 15))); number(((a + 1) * (a + 2) - (a + 3) * (a + 4)) * ((a + 5) * (a + 6) - ((a + 7) * (a + 8) - (a + 9))));{{{{{{{{{{ int a = 5; {{{{ number(a); }}}} }}}}}}}}}} }`,
	"string switch":        `int same(const char *a, const char *b) { while (*a && *a == *b) a++, b++; return *a == *b; } static const struct { const char *name; int value; } table[] = { { "one", 1 }, { "two", 2 }, { "three", 3 }, { 0 } }; int find(const char *n) { int i; for (i = 0; table[i].name; i++) if (same(table[i].name, n)) return table[i].value; return -1; } void t(void) { number(find("two")); number(find("three")); number(find("tw")); number(sizeof table / sizeof table[0]); }`,
	"attributes":           `static int __attribute__((unused)) a; void die(const char *f, ...) __attribute__((noreturn, format(printf, 1, 2))); __attribute__((__noreturn__)) void die2(void); __extension__ typedef long long ll; int __attribute__((noinline)) f(int x __attribute__((unused))) { return 4; } static __inline__ int g(void) { return 5; } void t(void) { __const int c = 3; __volatile__ int v = c; number(v + f(1) + g() + sizeof(ll)); }`,
	"main returns nothing": `int main(void) { number(1); }`,
	"status":               `int main(void) { return 300; }`,
	"x macros": `#define LIST X(one, 1) X(two, 2) X(three, 3)
		#define X(n, v) N_##n = v,
		enum { LIST };
		#undef X
		#define X(n, v) #n,
		char *names[] = { LIST };
		#undef X
		#define X(n, v) case N_##n: return names[v - 1];
		char *name(int i) { switch (i) { LIST } return "none"; }
		void t(void) { text(name(2)); text(name(3)); text(name(9)); }`,
	"name spaces": `struct x { int x; }; int x(struct x *y) { int x = y->x; goto x; x: return x; } union y { int x; }; enum z { z1 }; int z = 3; void t(void) { struct x x1 = { 4 }; enum z e = z1; number(x(&x1)); number(z + e); { union x { char c; } u; u.c = 5; number(sizeof(union x) + u.c); } { struct x; struct x *p; struct x { char a[3]; }; p = 0; number(sizeof *p); } }`,
}

func TestCCBPrograms(t *testing.T) {
	ccb(t)
	if len(ccbTexts) < 60 {
		t.Errorf("%d programs", len(ccbTexts))
	}
	for name, text := range ccbTexts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, "part.h", []byte("#ifndef PART\n#define PART\nint part_1 = 5;\n#else\nint part_2 = 6;\n#endif\n"))
			text = "#include \"test.h\"\n" + text + "\n"
			if !strings.Contains(text, "int main(") {
				text += "int main(void) { t(); return 3; }\n"
			}
			write(t, dir, "p.c", []byte(strings.ReplaceAll(text, "#include <part.h>", "#include \"part.h\"")))
			compareWithGCC(t, dir, "p")
		})
	}
}

// ccbWrong are texts with what is wrong in them, after "LINE: ".
var ccbWrong = []struct{ text, want string }{
	{"int main(void) { return x; }", "1: not declared: x"},
	{"int main(void) {\nf(1); }", "2: not declared: f"},
	{"int f(int a); int main(void) { return f(); }", "1: too few arguments"},
	{"int f(int a); int main(void) { return f(1, 2); }", "1: too many arguments"},
	{"int x; int x = 1; int x = 2;", "1: defined twice: x"},
	{"int x; char x;", "1: declared before with another type: x"},
	{"int f(void) { return 1; } int f(void) { return 2; }", "1: defined twice: f"},
	{"struct s { int a; int a; };", "1: member given twice: a"},
	{"struct s { int a; } x; int y = x.b;", "1: no such member: b"},
	{"struct s x; int main(void) { return 0; }", "1: a variable without a size: x"},
	{"int main(void) { struct s x; return 0; }", "1: a variable without a size: x"},
	{"int a[-1 - 1];", "1: array with a negative size"},
	{"int n; int a[n];", "1: an integer constant must stand here"},
	{"int n; int a = n;", "1: an initial value must be a constant here"},
	{"int a[2] = { 1, 2, 3 };", "1: too many initial values"},
	{"char a[2] = \"abc\";", "1: string too long for its array"},
	{"int a[] = { [1] = 2 };", "1: designated initialisers are not accepted"},
	{"int a = (1 / 0);", "1: an initial value must be a constant here"},
	{"#if 1 / 0\n#endif", "1: division by zero"},
	{"int main(void) { 1 = 2; }", "1: nothing can be assigned to this"},
	{"int main(void) { int a[2], b[2]; a = b; }", "1: nothing can be assigned to this"},
	{"int main(void) { (1)++; }", "1: this can not be changed"},
	{"int main(void) { return &5; }", "1: this has no address"},
	{"struct { int a : 3; } s; int *p; int main(void) { p = &s.a; }", "1: a bit-field has no address"},
	{"struct { int a : 40; } s;", "1: wrong bit-field"},
	{"int main(void) { return *5; }", "1: this is no pointer"},
	{"int main(void) { int *p = 5; }", "1: a number is no pointer"},
	{"int main(void) { int *p; int i = p; }", "1: a pointer is no number"},
	{"struct a { int x; } a; struct b { int x; } b; int main(void) { a = b; }", "1: different types in an assignment, argument or result"},
	{"struct a { int x; } a; int main(void) { return a + 1; }", "1: a number or pointer must stand here"},
	{"int main(void) { return 1.5 % 2; }", "1: floating operands: %"},
	{"int main(void) { return 1.5 << 2; }", "1: a floating number can not be shifted"},
	{"int main(void) { int i; i(); }", "1: this is no function"},
	{"int main(void) { break; }", "1: break or continue outside of a loop"},
	{"int main(void) { case 1:; }", "1: case without switch"},
	{"int main(void) { switch (1) { case 1: case 1:; } }", "1: case given twice"},
	{"int main(void) { switch (1) { default: default:; } }", "1: default given twice"},
	{"int main(void) {\ngoto x; }", "2: label that is not set: x"},
	{"int main(void) { x: x:; }", "1: label set twice: x"},
	{"int main(void) {", "3: a block without an end"},
	{"int main(void) { return 1 }", "1: ';' must stand before: }"},
	{"int x = 08;", "1: wrong number: 8"},
	{"int x = 1x;", "1: wrong number: x"},
	{"int x = 18446744073709551616;", "1: integer constant too large"},
	{"int x = 'ab';", "1: character constant of more than one character"},
	{"int x = '';", "1: empty character constant"},
	{"char *s = \"abc\n\";", "1: quote without an end on its line"},
	{"char *s = \"\\q\";", "1: unknown escape in a character or string"},
	{"/* abc\n", "1: comment without an end"},
	{"\n#if 1\n", "2: #if without #endif"},
	{"\n#if 0\n", "2: #if without #endif"},
	{"#endif", "1: #endif without #if"},
	{"#else", "1: #else or #elif without #if"},
	{"#if 1\n#else\n#else\n#endif", "3: #else or #elif behind #else"},
	{"#include \"none.h\"", "1: can not find the file to include: none.h"},
	{"#define f(x) x\nint a = f(1, 2);", "2: too many arguments for a macro: f"},
	{"#define f(x, y) x\nint a = f(1);", "2: wrong number of arguments for a macro: f"},
	{"#define f(x) x\nint a = f(1;", "2: the arguments of a macro have no end: f"},
	{"#define f(x) # y\n", "1: # without a parameter behind it"},
	{"#define c(x, y) x ## y\nint a = c(+, 1);", "2: ## does not make one token: +1"},
	{"#define a 1\n#define a 2", "2: a macro is defined again in another way: a"},
	{"#error stop here", "1: #error:  stop here"},
	{"#what", "1: unknown directive: what"},
	{"#pragma pack(1)", "1: this #pragma is not accepted: pack"},
	{"struct __attribute__((packed)) s { char a; int b; };", "1: this attribute is not accepted: packed"},
	{"int main(void) { asm(\"nop\"); }", "1: not declared: asm"},
	{"int x = (int){ 1 };", "1: compound literals are not accepted"},
	{"extern int x;\nint main(void) {\nreturn x; }", "3: used but not defined anywhere: x"},
	{"int g(void);\nint main(void) { return 0; }\nint f(void) { return g(); }", "3: used but not defined anywhere: g"},
	{"void f(void) { return 1; }", "1: a value is returned where there is none"},
	{"int f(a) int a; { return a; }", "1: a parameter's type must stand before: a"},
	{"long short x;", "1: these words do not make a type"},
	{"int char x;", "1: two types"},
	{"x y;", "1: a type must stand before: x"},
	{"static int x; int main(void) { extern char x; }", "1: declared before with another type: x"},
	{"enum { A, A };", "1: declared twice: A"},
	{"void x;", "1: a variable of type void: x"},
	{"int f(void)[3];", "1: a function can not give an array or a function"},
	{"int a[3](void);", "1: array of elements without a size"},
	{"struct s { int f(void); };", "1: a member can not be a function"},
	{"typedef int T; int x = T;", "1: a type where a value must stand: T"},
	{"int main(void) { int a[1 << 30]; char b[1 << 30]; return 0; }", "1: array too large"},
}

func TestCCBErrors(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	for _, w := range ccbWrong {
		text := w.text + "\n"
		if !strings.Contains(text, "int main(") {
			text += "int main(void);\n"
		}
		text += "void __libc_start(long *stack);\n"
		write(t, dir, "p.c", []byte(text))
		write(t, dir, "out", []byte("before"))
		status, stdout, stderr := command(t, dir, ccb(t), "-o", "out", "p.c")
		if status != 1 || stdout != "" || stderr != "p.c:"+w.want+"\n" {
			t.Errorf("%q: status %d, %q; want %q", w.text, status, stderr, "p.c:"+w.want)
		}
		if string(read(t, out)) != "before" {
			t.Fatalf("%q: the output was touched", w.text)
		}
	}
	for _, c := range []struct{ args, want string }{
		{"", "usage: ccb -o OUT [-t] [-I DIR]... [-D NAME[=VALUE]]... FILE.c..."},
		{"-o out", "usage: ccb -o OUT [-t] [-I DIR]... [-D NAME[=VALUE]]... FILE.c..."},
		{"-o out none.c", "there is no file: none.c"},
		{"-x", "unknown option: -x"},
		{"-o", "an option without its value: -o"},
		{"-o a -o b", "-o given twice"},
		{"-o dir/none good.c", "can not write: dir/none"},
		{"-o out -I", "an option without its value: -I"},
		{"-o out .", "can not read: ."},
	} {
		write(t, dir, "good.c", []byte("void __libc_start(long *stack) { }\n"))
		status, _, stderr := command(t, dir, ccb(t), strings.Fields(c.args)...)
		if status != 1 || stderr != "ccb: "+c.want+"\n" {
			t.Errorf("%q: status %d, %q; want %q", c.args, status, stderr, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "dir")); err == nil {
		t.Error("made a folder")
	}
}

// TestCCBTrace: with -t, functions tell their names in the order of their calls.
func TestCCBTrace(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "p.c", []byte(`#include "test.h"
void __trace(char *name) { if (name[0] == 't' && name[1] == '_') { while (*name) write(1, name++, 1); write(1, "\n", 1); } }
struct s { long a[3]; };
static long t_one(long a, long b) { return a - b; }
struct s t_two(struct s s, long n) { s.a[1] = t_one(n, 1); return s; }
int main(void) { struct s s = { { 1, 2, 3 } }; int i; for (i = 0; i < 2; i++) s = t_two(s, 9 + i); number(s.a[0] + s.a[1] * t_one(10, 0)); return 0; }
`))
	include, err := filepath.Abs(ccbData)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := command(t, dir, ccb(t), "-t", "-o", "out", "-I", include, "p.c"); status != 0 {
		t.Fatal(stderr)
	}
	if _, stdout, _ := command(t, dir, "./out"); stdout != "t_two\nt_one\nt_two\nt_one\nt_one\n91\n" {
		t.Errorf("%q", stdout)
	}
}

// TestCCBUnits: several files are units of their own in one program.
func TestCCBUnits(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "sub/a.h", []byte("#include \"b.h\"\nint shared(int);\n"))
	write(t, dir, "sub/b.h", []byte("enum { FROM_B = B };\n"))
	write(t, dir, "one.c", []byte("#include <test.h>\n#include <a.h>\nstatic int own = 1; int common; extern int there;\nint main(void) { number(shared(own)); number(there); number(common); number(FROM_B); return 0; }\n#define LEFT 1\ntypedef int left;\n"))
	write(t, dir, "two.c", []byte("static int own = 5; int common; int there = 7; int left;\n#ifdef LEFT\n#error macro of another unit\n#endif\nint shared(int x) { common = 9; return own + x; }\n"))
	include, err := filepath.Abs(ccbData)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := command(t, dir, ccb(t), "-o", "out", "-I", "sub", "-I"+include, "-D", "B=3", "one.c", "two.c"); status != 0 {
		t.Fatal(stderr)
	}
	if status, stdout, _ := command(t, dir, "./out"); status != 0 || stdout != "6\n7\n9\n3\n" {
		t.Errorf("status %d, %q", status, stdout)
	}
	for one, two := range map[string]string{
		"int x;":                       "long x;",
		"int x = 5;":                   "extern char x;",
		"char x[5];":                   "extern char *x;",
		"int x[5];":                    "extern int x[6];",
		"int x(int a);":                "int x(long a) { return a; }",
		"int x(char *a) { return 1; }": "int x(char *a, int b);",
		"double x(void);":              "float x(void) { return 1; }",
		"struct { int a; } x;":         "extern struct { int a, b; } x;",
		"int x(int a, ...);":           "int x(int a) { return a; }",
	} {
		write(t, dir, "one.c", []byte(one+"\nvoid __libc_start(long *s) { }\n"))
		write(t, dir, "two.c", []byte("\n"+two+"\n"))
		if status, _, stderr := command(t, dir, ccb(t), "-o", "out", "one.c", "two.c"); status != 1 || stderr != "two.c:2: declared before with another type: x\n" {
			t.Errorf("%s and %s: status %d, %s", one, two, status, stderr)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "out"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Error(info, err)
	}
}

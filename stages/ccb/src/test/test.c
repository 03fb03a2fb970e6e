/* A test of compiler B: what its language has beside that of compiler A. The status
   is the number of the first check that failed, 0 if none did. */

long __syscall(long number, long a, long b, long c, long d, long e, long f);
int __setjmp(void *buffer);
void __longjmp(void *buffer, int value);

typedef char *va_list;
#define va_start(list, last) ((list) = (char *)&(last) + (sizeof(last) + 7) / 8 * 8)
#define va_arg(list, type) (*(type *)(((list) += (sizeof(type) + 7) / 8 * 8) - (sizeof(type) + 7) / 8 * 8))

/* The preprocessor */

#define LIST X(red, 1) X(green, 2)
#define X(name, value) color_##name = value,
enum color { LIST color_last };
#undef X
#define X(name, value) #name,
static const char *const names[] = { LIST };
#undef X
#define PASTE(a, b) a ## b
#define PASTE2(a, b) PASTE(a, b)
#define SELF (SELF)
#define APPLY(f, ...) f(__VA_ARGS__)
#if defined(__CCB__) && !defined NOTHING && (1 ? 2 : 1 / 0) == 2 && -1 > 0u
#define GOOD 1
#elif 1
#error wrong group
#endif

static int count, failed;

/* check counts the checks and keeps the first that fails. */
static void check(int good)
{
    count++;
    if (!good && !failed)
        failed = count;
}

static int same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static void macros(void)
{
    int PASTE2(va, __LINE__) = 3, var;
    var = 1;
    check(GOOD);
    check(color_green == 2 && color_last == 3);
    check(same(names[1], "green"));
    check(APPLY(same, "a" "b", "ab"));
    check(sizeof("SELF") == 5 && PASTE(v, ar) == 1);
}

/* Integers */

static void integers(void)
{
    unsigned char c = 200;
    signed char s = -1;
    unsigned short h = 65535;
    int i = -7;
    unsigned u = 1;
    long l = -1;
    unsigned long m = -1;

    check(c + c == 400 && (unsigned char)(c + c) == 144);
    check(s < 0 && !(s < 0u) && h + 1 == 65536);
    check(i < (int)u && !(i < u) && l < u && !(l < m));
    check(i / 2 == -3 && i % 2 == -1 && (unsigned)i / 2 == 2147483644);
    check(i >> 1 == -4 && (unsigned)i >> 1 == 2147483644 && m >> 63 == 1);
    check(2147483647 + u == 2147483648u && (int)4294967295u == -1);
    check(m / 3 == 6148914691236517205 && m % 10 == 5);
    c += 100;
    check(c == 44 && c++ == 44 && --c == 44);
    i = 5, i <<= 3, i |= 2, i ^= 8, i %= 32;
    check(i == 2);
    check((i ? c : m) == 44 && (c, i) == 2 && !(i && 0) && (0 || i));
    check(sizeof(i ? 1 : 1L) == 8 && sizeof 'a' == 4 && -1L >> 70 - 69 == -1);
}

/* Floating numbers */

static long double g = 1.5L;

static float half(float x, int n, long double y)
{
    return x / 2 + n + y;
}

static void floating(void)
{
    double d = 0.1, zero = 0, nan = zero / zero;
    float f = 0.1f;
    unsigned long m = -1;
    union { double d; unsigned long m; } u;
    union { long double l; unsigned long m[2]; } v;

    u.d = 4.35;
    check(u.m == 0x4011666666666666);
    check(d != f && (float)d == f && half(3, 2, 0.25L) == 3.75f);
    check((int)-2.9 == -2 && (unsigned char)200.9f == 200 && (unsigned long)1e19 == 10000000000000000000u);
    check((double)m == 18446744073709551616.0 && (long)(double)-5 == -5);
    check(!(nan == nan) && nan != nan && !(nan < 1) && !(nan >= 1) && (nan ? 1 : 0));
    check(-zero == 0 && !-zero && 1 / -zero < 0);
    v.l = g + 18446744073709551612u;
    check(v.m[0] == 0xfffffffffffffffe && (v.m[1] & 65535) == 0x403e);
    v.l = -0x1p-16382L;
    check(v.m[0] == 1ul << 63 && (v.m[1] & 65535) == 0x8001);
    check((unsigned long)((long double)m) == m && g++ == 1.5 && g * 2 == 5);
}

/* Structs */

struct s {
    char a;
    unsigned b : 3;
    int c : 5, : 0;
    unsigned long d : 40;
    union {
        int e;
        struct { short low, high; };
    };
    char name[5];
} static_s[] = { { 'x', 7, -1, 0xffffffffff, { 0x20001 }, "name" }, 'y', 1, 2, 3, 4, { 'z' } };

static struct s change(struct s s, int n)
{
    s.b += n;
    s.c -= n;
    s.high = n;
    return s;
}

static void structs(void)
{
    struct s local = static_s[0], *p = &local, array[2][2] = { { { 1 }, local }, { { 2, 3 } } };

    check(sizeof(struct s) == 32 && (long)&((struct s *)0)->high == 18);
    check(local.b == 7 && p->c == -1 && p->d == 0xffffffffff && p->high == 2 && same(p->name, "name"));
    check(static_s[1].e == 4 && static_s[1].name[0] == 'z' && static_s[1].name[4] == 0);
    *p = change(local, 2);
    check(p->b == 1 && p->c == -3 && p->low == 1 && p->high == 2);
    check(change(*p, 5).high == 5 && (p->b = 15) == 7 && p->b - 8 < 0);
    check(array[0][1].high == 2 && array[1][0].b == 3 && array[1][1].a == 0);
    p->d += 2;
    check(p->d == 1 && p->a == 'x' && p->e == 0x20001);
}

/* Functions and pointers */

static long sum(int n, ...)
{
    va_list list;
    long total = 0;

    va_start(list, n);
    while (n--)
        switch (va_arg(list, int)) {
        case 'i': total += va_arg(list, int); break;
        case 'd': total += va_arg(list, double); break;
        case 's': total += va_arg(list, struct s).a; break;
        default: return -1;
        }
    return total;
}

static int add(int a, int b) { return a + b; }
static int subtract(int a, int b) { return a - b; }
static int (*const operations[])(int, int) = { add, &subtract };
static int (*choose(int n))(int, int) { return operations[n]; }
static int grid[3][4] = { { 1, 2 }, { 3 }, 4, 5, 6, 7 };
static int *inside = &grid[2][1] - 1, (*row)[4] = grid + 1;

static int next(void)
{
    static int n = 5;
    return n++;
}

static void functions(void)
{
    char c = -3;
    float f = 2.5f;
    int *p = *grid, n = 0;

    check(sum(4, 'i', c, 'd', f, 's', static_s[0], 'i', 1) == 'x' + 1);
    check(choose(1)(5, 3) == 2 && (*operations[0])(1, 2) == 3 && operations[0] == add);
    check(*inside == 4 && row[1][3] == 7 && (*row)[0] == 3 && &grid[2][0] - p == 8);
    check(*p++ == 1 && *p == 2 && p - *grid == 1 && *++p == 0 && p[-2] == 1 && 2[p - 2] == 0);
    check(next() == 5 && next() == 6);
again:
    for (;;) {
        do {
            if (++n % 3)
                continue;
            if (n > 10)
                goto out;
        } while (n % 5);
        goto again;
    }
out:
    check(n == 12);
    switch (n) { do { case 1: n++; case 12: n += 2; } while (n < 20); }
    check(n == 20);
}

static long buffer[8];

static void jump(int n)
{
    __longjmp(buffer, n + 1);
}

static void jumps(void)
{
    volatile int kept = 1;
    int n = __setjmp(buffer);

    if (n < 3) {
        kept *= 2;
        jump(n);
    }
    check(n == 3 && kept == 8);
}

void __libc_start(long *stack)
{
    check(*stack == 1);
    macros();
    integers();
    floating();
    structs();
    functions();
    jumps();
    __syscall(60, failed, 0, 0, 0, 0, 0);
}

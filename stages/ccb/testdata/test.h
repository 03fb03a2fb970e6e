/* What the test programs of compiler B print with. The same text serves gcc, to
   which B's output is compared. */
#ifdef __CCB__
typedef char *va_list;
#define va_start(list, last) ((list) = (char *)&(last) + (sizeof(last) + 7) / 8 * 8)
#define va_arg(list, type) (*(type *)(((list) += (sizeof(type) + 7) / 8 * 8) - (sizeof(type) + 7) / 8 * 8))
#define va_end(list) ((void)0)
long __syscall(long n, long a, long b, long c, long d, long e, long f);
static long write(int file, const void *bytes, unsigned long n)
{
    return __syscall(1, file, (long)bytes, (long)n, 0, 0, 0);
}
int main(void);
void __libc_start(long *stack)
{
    __syscall(60, main(), 0, 0, 0, 0, 0);
}
int __setjmp(void *buffer);
void __longjmp(void *buffer, int value);
typedef long jmp_buf[8];
#define setjmp(buffer) __setjmp(buffer)
#define longjmp(buffer, value) __longjmp(buffer, value)
#else
#include <stdarg.h>
#include <setjmp.h>
long write(int file, const void *bytes, unsigned long n);
#endif

static void text(const char *t)
{
    unsigned long n = 0;
    while (t[n])
        n++;
    write(1, t, n);
}

/* number prints a value in decimal, bits in hexadecimal, each on its line. */
static void number(long value)
{
    char digits[24];
    int at = 23;
    unsigned long rest = value < 0 ? -(unsigned long)value : (unsigned long)value;
    digits[at] = '\n';
    do {
        digits[--at] = '0' + rest % 10;
        rest /= 10;
    } while (rest);
    if (value < 0)
        digits[--at] = '-';
    write(1, digits + at, 24 - at);
}

static void bits(unsigned long value)
{
    char digits[24];
    int at = 23;
    digits[at] = '\n';
    do {
        digits[--at] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value);
    write(1, digits + at, 24 - at);
}

static void real(double value)
{
    union { double d; unsigned long l; } u;
    if (value != value) {
        text("nan\n");
        return;
    }
    u.d = value;
    bits(u.l);
}

static long truncated(double value)
{
    return value > -1e15 && value < 1e15 ? (long)value : 5;
}

static double tame(double value)
{
    return value > -1e30 && value < 1e30 ? value : 1.5;
}

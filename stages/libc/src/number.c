/* Numbers in text: integers. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include "libc.h"

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 10;
    return 99;
}

/* The number without its sign, and whether it has too many digits. */
static unsigned long parse(const char *text, char **end, int base,
                           int *negative, int *too_large)
{
    const char *p;
    const char *after;
    unsigned long value;
    int digit;

    *negative = 0;
    *too_large = 0;
    value = 0;
    after = text;             /* without a digit nothing is taken */
    if (base < 0 || base == 1 || base > 36) {
        errno = EINVAL;
        if (end)
            *end = (char *)text;
        return 0;
    }
    for (p = text; isspace((unsigned char)*p); p++)
        ;
    if (*p == '+' || *p == '-')
        *negative = *p++ == '-';
    if ((base == 0 || base == 16) && p[0] == '0' &&
        (p[1] == 'x' || p[1] == 'X') && digit_value(p[2]) < 16) {
        p += 2;
        base = 16;
    }
    if (base == 0)
        base = *p == '0' ? 8 : 10;
    for (; digit_value(*p) < base; after = ++p) {
        digit = digit_value(*p);
        if (value > (ULONG_MAX - (unsigned long)digit) / (unsigned long)base)
            *too_large = 1;
        else
            value = value * (unsigned long)base + (unsigned long)digit;
    }
    if (end)
        *end = (char *)after;
    return value;
}

unsigned long strtoul(const char *text, char **end, int base)
{
    unsigned long value;
    int negative, too_large;

    value = parse(text, end, base, &negative, &too_large);
    if (too_large) {
        errno = ERANGE;
        return ULONG_MAX;
    }
    return negative ? -value : value;
}

long strtol(const char *text, char **end, int base)
{
    unsigned long value;
    int negative, too_large;

    value = parse(text, end, base, &negative, &too_large);
    if (too_large || value > (unsigned long)LONG_MAX + (unsigned long)negative) {
        errno = ERANGE;
        return negative ? LONG_MIN : LONG_MAX;
    }
    return (long)(negative ? -value : value);
}

unsigned long long strtoull(const char *text, char **end, int base)
{
    return strtoul(text, end, base);
}

long long strtoll(const char *text, char **end, int base)
{
    return strtol(text, end, base);
}

long atol(const char *text)
{
    return strtol(text, NULL, 10);
}

int atoi(const char *text)
{
    return (int)strtol(text, NULL, 10);
}

int abs(int x)
{
    return x < 0 ? -x : x;
}

long labs(long x)
{
    return x < 0 ? -x : x;
}

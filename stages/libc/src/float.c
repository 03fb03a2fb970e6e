/* Floating point and decimal, exactly.

   A floating-point number is an integer times a power of two, a decimal one an
   integer times a power of ten. Both directions are done here in integers that
   are as long as they have to be, with one rounding at the end, to nearest and
   ties to even. No floating-point arithmetic is used and no floating-point
   constant: a compiler that gets those wrong would build a library that reads
   constants wrong, which would build such a compiler again. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "libc.h"

/* Long integers

   The longest come from a decimal text near the least long double: up to
   MAX_DIGITS digits, and a power of five of the same size. */

enum {
    MAX_DIGITS = 11600,
    MAX_WORDS = 1280          /* 40,960 bits; 38,600 are needed */
};

struct integer {
    int length;               /* words in use, the last of them is not 0 */
    unsigned int word[MAX_WORDS];
};

static void set(struct integer *n, unsigned long value)
{
    n->length = 0;
    for (; value; value >>= 32)
        n->word[n->length++] = (unsigned int)value;
}

static void append(struct integer *n, unsigned int word)
{
    if (word == 0)
        return;
    if (n->length == MAX_WORDS)
        __fatal("float: an integer is too long");
    n->word[n->length++] = word;
}

/* n = n * factor + summand */
static void multiply(struct integer *n, unsigned int factor, unsigned int summand)
{
    unsigned long carry;
    int i;

    carry = summand;
    for (i = 0; i < n->length; i++) {
        carry += (unsigned long)n->word[i] * factor;
        n->word[i] = (unsigned int)carry;
        carry >>= 32;
    }
    append(n, (unsigned int)carry);
}

static void multiply_power_of_5(struct integer *n, long exponent)
{
    for (; exponent >= 13; exponent -= 13)
        multiply(n, 1220703125, 0);
    for (; exponent > 0; exponent--)
        multiply(n, 5, 0);
}

/* n = n / divisor; the result is the remainder */
static unsigned int divide(struct integer *n, unsigned int divisor)
{
    unsigned long rest;
    int i;

    rest = 0;
    for (i = n->length - 1; i >= 0; i--) {
        rest = rest << 32 | n->word[i];
        n->word[i] = (unsigned int)(rest / divisor);
        rest %= divisor;
    }
    while (n->length > 0 && n->word[n->length - 1] == 0)
        n->length--;
    return (unsigned int)rest;
}

static long bits_of(const struct integer *n)
{
    unsigned int top;
    long bits;

    if (n->length == 0)
        return 0;
    bits = (long)(n->length - 1) * 32;
    for (top = n->word[n->length - 1]; top; top >>= 1)
        bits++;
    return bits;
}

static void shift_left(struct integer *n, long bits)
{
    int words, i;

    if (n->length == 0)
        return;
    words = (int)(bits / 32);
    if (n->length + words > MAX_WORDS)
        __fatal("float: an integer is too long");
    if (words > 0) {
        for (i = n->length - 1; i >= 0; i--)
            n->word[i + words] = n->word[i];
        for (i = 0; i < words; i++)
            n->word[i] = 0;
        n->length += words;
    }
    if (bits % 32)
        multiply(n, 1U << (bits % 32), 0);
}

static int less(const struct integer *a, const struct integer *b)
{
    int i;

    if (a->length != b->length)
        return a->length < b->length;
    for (i = a->length - 1; i >= 0; i--)
        if (a->word[i] != b->word[i])
            return a->word[i] < b->word[i];
    return 0;
}

/* a = a - b, where a is not less than b */
static void subtract(struct integer *a, const struct integer *b)
{
    unsigned long difference;
    unsigned long borrow;
    int i;

    borrow = 0;
    for (i = 0; i < a->length; i++) {
        difference = (unsigned long)a->word[i] - borrow;
        if (i < b->length)
            difference -= b->word[i];
        a->word[i] = (unsigned int)difference;
        borrow = difference >> 63;
    }
    while (a->length > 0 && a->word[a->length - 1] == 0)
        a->length--;
}

/* The formats of floating-point numbers

   A finite number is a mantissa of at most `precision` bits times two to the
   power of an exponent, which is not less than `least`; all numbers are below two
   to the power of `limit`. Mantissas of full precision belong to normal numbers,
   shorter ones have the exponent `least`. */

struct format {
    int precision;
    int least;
    int limit;
};

static const struct format float_format = { 24, -149, 128 };
static const struct format double_format = { 53, -1074, 1024 };

union double_bits {
    double value;
    unsigned long bits;
};

union float_bits {
    float value;
    unsigned int bits;
};

void __parts_of_double(struct __parts *parts, double x)
{
    union double_bits u;
    int exponent;

    u.value = x;
    parts->negative = (int)(u.bits >> 63);
    exponent = (int)(u.bits >> 52 & 2047);
    parts->mantissa = u.bits & ((1UL << 52) - 1);
    parts->kind = FINITE;
    if (exponent == 2047)
        parts->kind = parts->mantissa ? NOT_A_NUMBER : INFINITE;
    if (exponent > 0) {
        parts->mantissa |= 1UL << 52;
        exponent--;
    }
    parts->exponent = exponent + double_format.least;
}

/* The numbers of each format from their parts; infinity has the exponent
   `limit`, and with a mantissa that is not 0 it is not a number. */

static double make_double(int negative, unsigned long mantissa, int exponent)
{
    union double_bits u;

    if (exponent == double_format.limit)
        u.bits = 2047UL << 52 | (mantissa ? 1UL << 51 : 0);
    else
        u.bits = ((unsigned long)(exponent - double_format.least) << 52) + mantissa;
    u.bits |= (unsigned long)negative << 63;
    return u.value;
}

static float make_float(int negative, unsigned long mantissa, int exponent)
{
    union float_bits u;

    if (exponent == float_format.limit)
        u.bits = 255U << 23 | (mantissa ? 1U << 22 : 0);
    else
        u.bits = ((unsigned int)(exponent - float_format.least) << 23) + (unsigned int)mantissa;
    u.bits |= (unsigned int)negative << 31;
    return u.value;
}

/* The x87's format: the mantissa's highest bit is written out. A compiler with
   another long double can not compile this. */

typedef char long_double_of_80_bits[sizeof(long double) == 16 ? 1 : -1];

static const struct format long_double_format = { 64, -16445, 16384 };

union long_double_bits {
    long double value;
    struct {
        unsigned long mantissa;
        unsigned short sign_and_exponent;
    } bits;
};

void __parts_of_long_double(struct __parts *parts, long double x)
{
    union long_double_bits u;
    int exponent;

    u.value = x;
    parts->negative = u.bits.sign_and_exponent >> 15;
    exponent = u.bits.sign_and_exponent & 32767;
    parts->kind = FINITE;
    if (exponent == 32767)
        parts->kind = u.bits.mantissa << 1 ? NOT_A_NUMBER : INFINITE;
    parts->mantissa = u.bits.mantissa;
    parts->exponent = (exponent ? exponent - 1 : 0) + long_double_format.least;
}

static long double make_long_double(int negative, unsigned long mantissa, int exponent)
{
    union long_double_bits u;

    memset(&u, 0, sizeof u);
    u.bits.mantissa = mantissa;
    if (exponent == long_double_format.limit) {
        u.bits.mantissa = mantissa ? 3UL << 62 : 1UL << 63;
        u.bits.sign_and_exponent = 32767;
    } else if (mantissa >> 63) {
        u.bits.sign_and_exponent = (unsigned short)(exponent - long_double_format.least + 1);
    }
    u.bits.sign_and_exponent |= (unsigned short)(negative << 15);
    return u.value;
}

/* From decimal or hexadecimal text */

enum { ZERO, NUMBER, INFINITY_WORD, NAN_WORD };

/* What was read: numerator / denominator * 2^exponent, or one of the above. */
static struct integer numerator;
static struct integer denominator;
static long binary_exponent;

static int matches(const char *text, const char *word)
{
    for (; *word; text++, word++)
        if (tolower((unsigned char)*text) != *word)
            return 0;
    return 1;
}

static int hex_value(char c)
{
    if (isdigit((unsigned char)c))
        return c - '0';
    if (isxdigit((unsigned char)c))
        return tolower((unsigned char)c) - 'a' + 10;
    return -1;
}

/* An exponent such as "e-5" behind a number; its letter is lower case. */
static const char *parse_exponent(const char *p, char letter, long *exponent)
{
    const char *q;
    int negative;
    long value;

    *exponent = 0;
    if (tolower((unsigned char)*p) != letter)
        return p;
    q = p + 1;
    negative = *q == '-';
    if (*q == '+' || *q == '-')
        q++;
    if (!isdigit((unsigned char)*q))
        return p;
    for (value = 0; isdigit((unsigned char)*q); q++)
        if (value < 1L << 40)
            value = value * 10 + (*q - '0');
    *exponent = negative ? -value : value;
    return q;
}

/* The digits of a number as an integer in `numerator`, and where the point
   is: the number is that integer times base^scale. Digits that can't change the
   result are not multiplied in; if one of them is not 0, a 1 takes their place,
   so that the number is not mistaken for a tie. Returns the first byte behind,
   or NULL if there is no digit. */
static const char *parse_digits(const char *p, int base, int most, long *digits,
                                long *scale)
{
    int any, after_point, digit, rest;

    set(&numerator, 0);
    *digits = 0;
    *scale = 0;
    any = after_point = rest = 0;
    for (;; p++) {
        if (*p == '.' && !after_point) {
            after_point = 1;
            continue;
        }
        digit = hex_value(*p);
        if (digit < 0 || digit >= base)
            break;
        any = 1;
        if (*digits < most) {
            multiply(&numerator, (unsigned int)base, (unsigned int)digit);
            if (numerator.length > 0)
                ++*digits;
            *scale -= after_point;
        } else {
            rest |= digit;
            *scale += !after_point;
        }
    }
    if (rest) {
        multiply(&numerator, (unsigned int)base, 1);
        ++*digits;
        --*scale;
    }
    return any ? p : NULL;
}

static int parse(const char *text, char **end, int *negative)
{
    const char *p;
    const char *q;
    long digits, scale, exponent;
    int kind;

    for (p = text; isspace((unsigned char)*p); p++)
        ;
    *negative = *p == '-';
    if (*p == '+' || *p == '-')
        p++;
    set(&denominator, 1);
    binary_exponent = 0;
    kind = NUMBER;
    if (matches(p, "infinity")) {
        kind = INFINITY_WORD;
        p += 8;
    } else if (matches(p, "inf")) {
        kind = INFINITY_WORD;
        p += 3;
    } else if (matches(p, "nan")) {
        kind = NAN_WORD;
        p += 3;
        if (*p == '(') {
            for (q = p + 1; isalnum((unsigned char)*q) || *q == '_'; q++)
                ;
            if (*q == ')')
                p = q + 1;
        }
    } else if (matches(p, "0x") &&
               (q = parse_digits(p + 2, 16, 40, &digits, &scale)) != NULL) {
        p = parse_exponent(q, 'p', &exponent);
        binary_exponent = exponent + 4 * scale;
    } else if ((q = parse_digits(p, 10, MAX_DIGITS, &digits, &scale)) != NULL) {
        p = parse_exponent(q, 'e', &exponent);
        exponent += scale;
        /* Far beyond all formats the powers need not be computed. */
        if (digits + exponent > 5000) {
            binary_exponent = 1L << 40;
        } else if (digits + exponent < -5000) {
            binary_exponent = -(1L << 40);
        } else {
            if (exponent > 0)
                multiply_power_of_5(&numerator, exponent);
            else
                multiply_power_of_5(&denominator, -exponent);
            binary_exponent = exponent;
        }
    } else {
        p = text;
        *negative = 0;
        kind = ZERO;
    }
    if (kind == NUMBER && numerator.length == 0)
        kind = ZERO;
    if (end)
        *end = (char *)p;
    return kind;
}

static unsigned long too_large(const struct format *format, int *exponent)
{
    errno = ERANGE;
    *exponent = format->limit;
    return 0;
}

/* The nearest number of a format, as mantissa and exponent. The quotient's bits come one by one from a division that
   a child does on paper: whether the denominator goes into what is left. */
static unsigned long nearest(const struct format *format, int *exponent)
{
    unsigned long mantissa;
    long top, lowest, difference;
    int bit, inexact;

    /* denominator <= numerator < 2 * denominator, the quotient is 1.xxx */
    difference = bits_of(&numerator) - bits_of(&denominator);
    if (difference > 0)
        shift_left(&denominator, difference);
    else
        shift_left(&numerator, -difference);
    top = binary_exponent + difference;
    if (less(&numerator, &denominator)) {
        shift_left(&numerator, 1);
        top--;
    }

    if (top >= format->limit)
        return too_large(format, exponent);
    lowest = top - format->precision + 1;
    if (lowest < format->least)
        lowest = format->least;
    mantissa = 0;
    for (; top >= lowest; top--) {
        bit = !less(&numerator, &denominator);
        if (bit)
            subtract(&numerator, &denominator);
        shift_left(&numerator, 1);
        mantissa = mantissa << 1 | (unsigned long)bit;
    }
    inexact = numerator.length > 0;
    /* The next bit is worth one half, if the first was not yet lower. */
    if (top == lowest - 1 && !less(&numerator, &denominator)) {
        subtract(&numerator, &denominator);
        if (numerator.length > 0 || (mantissa & 1)) {
            mantissa++;
            /* all bits were 1: the next power of two */
            if (mantissa == 0 || mantissa >> (format->precision - 1) == 2) {
                mantissa = 1UL << (format->precision - 1);
                lowest++;
            }
        }
    }
    if (lowest + format->precision > format->limit)
        return too_large(format, exponent);
    if (inexact && mantissa >> (format->precision - 1) == 0)
        errno = ERANGE;
    *exponent = (int)lowest;
    return mantissa;
}

/* Any text as mantissa, exponent and sign of a format. */
static unsigned long read_text(const struct format *format, const char *text, char **end,
                               int *negative, int *exponent)
{
    *exponent = format->limit;
    switch (parse(text, end, negative)) {
    case NUMBER:
        return nearest(format, exponent);
    case INFINITY_WORD:
        return 0;
    case NAN_WORD:
        return 1;
    default:
        *exponent = format->least;
        return 0;
    }
}

double strtod(const char *text, char **end)
{
    unsigned long mantissa;
    int negative, exponent;

    mantissa = read_text(&double_format, text, end, &negative, &exponent);
    return make_double(negative, mantissa, exponent);
}

float strtof(const char *text, char **end)
{
    unsigned long mantissa;
    int negative, exponent;

    mantissa = read_text(&float_format, text, end, &negative, &exponent);
    return make_float(negative, mantissa, exponent);
}

long double strtold(const char *text, char **end)
{
    unsigned long mantissa;
    int negative, exponent;

    mantissa = read_text(&long_double_format, text, end, &negative, &exponent);
    return make_long_double(negative, mantissa, exponent);
}

double atof(const char *text)
{
    return strtod(text, NULL);
}

/* x * 2^exponent, rounded once. */
double ldexp(double x, int exponent)
{
    struct __parts parts;
    unsigned long mantissa;

    __parts_of_double(&parts, x);
    if (parts.kind != FINITE || parts.mantissa == 0)
        return x;
    set(&numerator, parts.mantissa);
    set(&denominator, 1);
    binary_exponent = (long)parts.exponent + exponent;
    mantissa = nearest(&double_format, &exponent);
    return make_double(parts.negative, mantissa, exponent);
}

/* To decimal */

void __exact(struct __decimal *decimal, unsigned long mantissa, int exponent)
{
    static char digits[MAX_DIGITS];
    unsigned int nine;
    int first, i;

    /* The mantissa times 2^-k has the digits of the mantissa times 5^k. */
    set(&numerator, mantissa);
    decimal->point = 0;
    if (exponent >= 0) {
        shift_left(&numerator, exponent);
    } else {
        multiply_power_of_5(&numerator, -(long)exponent);
        decimal->point = exponent;
    }
    first = MAX_DIGITS;
    while (numerator.length > 0) {
        nine = divide(&numerator, 1000000000);
        for (i = 0; i < 9; i++) {
            digits[--first] = (char)('0' + nine % 10);
            nine /= 10;
        }
    }
    while (first < MAX_DIGITS && digits[first] == '0')
        first++;
    decimal->digits = digits + first;
    decimal->count = MAX_DIGITS - first;
    decimal->point += decimal->count;
}

void __round(struct __decimal *decimal, long n)
{
    char *d;
    int i, up;

    if (n >= decimal->count)
        return;
    d = decimal->digits;
    up = 0;
    if (n >= 0) {
        up = d[n] > '5';
        if (d[n] == '5') {
            up = n > 0 && (d[n - 1] - '0') % 2 == 1;
            for (i = (int)n + 1; i < decimal->count && !up; i++)
                up = d[i] != '0';
        }
    }
    decimal->count = n > 0 ? (int)n : 0;
    if (!up)
        return;
    /* Nines become zeros, which need not be kept. */
    while (decimal->count > 0 && d[decimal->count - 1] == '9')
        decimal->count--;
    if (decimal->count > 0) {
        d[decimal->count - 1]++;
    } else {
        d[0] = '1';
        decimal->count = 1;
        decimal->point++;
    }
}

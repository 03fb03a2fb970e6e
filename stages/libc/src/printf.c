/* printf and sscanf.

   All conversions of C99 but %a and %n, for char and not wchar_t. One that is not
   known is a mistake in the program and ends it. Floating point is exact to the
   last digit, however many are asked for. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "libc.h"

/* Where the text goes: to a stream, or to memory as far as it has room. */
struct sink {
    FILE *stream;
    char *text;
    size_t room;
    size_t length;            /* of all that was put, whether it fitted or not */
    int failed;
};

static void put(struct sink *sink, const char *bytes, size_t n)
{
    size_t fits;

    if (sink->stream) {
        if (n && fwrite(bytes, 1, n, sink->stream) != n)
            sink->failed = 1;
    } else if (sink->length < sink->room) {
        fits = sink->room - sink->length;
        memcpy(sink->text + sink->length, bytes, n < fits ? n : fits);
    }
    sink->length += n;
}

static void put_repeated(struct sink *sink, char c, long n)
{
    char block[64];
    size_t part;

    memset(block, c, sizeof block);
    for (; n > 0; n -= (long)part) {
        part = n < (long)sizeof block ? (size_t)n : sizeof block;
        put(sink, block, part);
    }
}

/* One conversion, such as %-08.3lx */
struct conversion {
    int left;                 /* - */
    int zeros;                /* 0 */
    int alternate;            /* # */
    char plus;                /* '+', ' ' or 0: what stands before positive numbers */
    int width;
    int precision;            /* -1: none was given */
    char letter;
};

/* A prefix such as "-0x", then zeros, then the body, padded to the width. */
static void put_padded(struct sink *sink, const struct conversion *c, const char *prefix,
                       long zeros, const char *body, size_t length)
{
    long padding;

    padding = c->width - (long)(strlen(prefix) + length) - zeros;
    if (!c->left)
        put_repeated(sink, ' ', padding);
    put(sink, prefix, strlen(prefix));
    put_repeated(sink, '0', zeros);
    put(sink, body, length);
    if (c->left)
        put_repeated(sink, ' ', padding);
}

static const char *sign(const struct conversion *c, int negative)
{
    if (negative)
        return "-";
    if (c->plus == '+')
        return "+";
    return c->plus ? " " : "";
}

static void put_integer(struct sink *sink, const struct conversion *c, unsigned long value,
                        int negative)
{
    char buffer[24];
    const char *symbols;
    const char *prefix;
    char *first;
    unsigned long base, rest;
    long zeros, length;

    base = 10;
    prefix = "";
    symbols = "0123456789abcdef";
    switch (c->letter) {
    case 'd':
        prefix = sign(c, negative);
        break;
    case 'o':
        base = 8;
        break;
    case 'x':
    case 'p':
        base = 16;
        if ((c->alternate && value) || c->letter == 'p')
            prefix = "0x";
        break;
    case 'X':
        base = 16;
        symbols = "0123456789ABCDEF";
        if (c->alternate && value)
            prefix = "0X";
        break;
    }
    first = buffer + sizeof buffer;
    for (rest = value; rest; rest /= base)
        *--first = symbols[rest % base];
    length = buffer + sizeof buffer - first;
    zeros = c->precision < 0 ? 1 - length : c->precision - length;
    if (c->letter == 'o' && c->alternate && zeros <= 0 && (length > 0 || c->precision == 0))
        zeros = 1;
    if (c->precision < 0 && c->zeros && !c->left &&
        c->width - (long)strlen(prefix) - length > zeros)
        zeros = c->width - (long)strlen(prefix) - length;
    if (zeros < 0)
        zeros = 0;
    put_padded(sink, c, prefix, zeros, first, (size_t)length);
}

static void put_string(struct sink *sink, const struct conversion *c, const char *text)
{
    size_t length;

    if (!text)
        text = "(null)";
    for (length = 0; c->precision < 0 || length < (size_t)c->precision; length++)
        if (text[length] == 0)
            break;
    put_padded(sink, c, "", 0, text, length);
}

/* Digits of a decimal from one place to another; there are zeros on both sides
   of those that are kept. */
static void put_digits(struct sink *sink, const struct __decimal *decimal, long from, long to)
{
    long end;

    if (from < 0 && from < to) {
        end = to < 0 ? to : 0;
        put_repeated(sink, '0', end - from);
        from = end;
    }
    end = to < decimal->count ? to : decimal->count;
    if (from < end) {
        put(sink, decimal->digits + from, (size_t)(end - from));
        from = end;
    }
    put_repeated(sink, '0', to - from);
}

static void put_float(struct sink *sink, const struct conversion *c, const struct __parts *parts)
{
    struct __decimal decimal;
    const char *prefix;
    char exponent[16];
    char style;
    int upper;
    long precision, whole, length, zeros, power;

    upper = isupper((unsigned char)c->letter);
    style = (char)tolower((unsigned char)c->letter);
    prefix = sign(c, parts->negative);
    if (parts->kind != FINITE) {
        const char *word;

        if (parts->kind == INFINITE)
            word = upper ? "INF" : "inf";
        else
            word = upper ? "NAN" : "nan";
        put_padded(sink, c, prefix, 0, word, 3);
        return;
    }

    __exact(&decimal, parts->mantissa, parts->exponent);
    if (decimal.count == 0)
        decimal.point = 1;    /* zero is 0 times ten to the power of 0 */
    precision = c->precision < 0 ? 6 : c->precision;
    if (style == 'g') {
        if (precision == 0)
            precision = 1;
        __round(&decimal, precision);
        power = decimal.point - 1;
        if (!c->alternate) {  /* no zeros at the end of the fraction */
            while (decimal.count > 0 && decimal.digits[decimal.count - 1] == '0')
                decimal.count--;
        }
        if (power < -4 || power >= precision) {
            style = 'e';
            precision = c->alternate ? precision - 1 : decimal.count - 1;
        } else {
            style = 'f';
            precision = (c->alternate ? precision : decimal.count) - decimal.point;
        }
        if (precision < 0)
            precision = 0;
    } else if (style == 'e') {
        __round(&decimal, precision + 1);
    } else {
        __round(&decimal, decimal.point + precision);
        if (decimal.count == 0)
            decimal.point = 1;
    }

    exponent[0] = 0;
    whole = 1;                /* digits before the point */
    if (style == 'e') {
        power = decimal.point - 1;
        sprintf(exponent, "%c%c%02ld", upper ? 'E' : 'e', power < 0 ? '-' : '+',
                power < 0 ? -power : power);
    } else if (decimal.point > 1) {
        whole = decimal.point;
    }
    length = (long)strlen(prefix) + whole + (precision > 0 || c->alternate) + precision +
             (long)strlen(exponent);
    zeros = 0;
    if (c->zeros && !c->left && c->width > length)
        zeros = c->width - length;
    if (!c->left)
        put_repeated(sink, ' ', c->width - length - zeros);
    put(sink, prefix, strlen(prefix));
    put_repeated(sink, '0', zeros);
    power = style == 'e' ? 1 : decimal.point;
    put_digits(sink, &decimal, power - whole, power);
    if (precision > 0 || c->alternate)
        put(sink, ".", 1);
    put_digits(sink, &decimal, power, power + precision);
    put(sink, exponent, strlen(exponent));
    if (c->left)
        put_repeated(sink, ' ', c->width - length);
}

/* How large an integer argument is. */
enum { CHAR, SHORT, INT, LONG, LONG_DOUBLE };

static const char *parse_size(const char *p, int *size)
{
    *size = INT;
    switch (*p) {
    case 'h':
        *size = SHORT;
        if (*++p == 'h') {
            *size = CHAR;
            p++;
        }
        break;
    case 'l':
        *size = LONG;
        if (*++p == 'l')
            p++;
        break;
    case 'z':
    case 'j':
    case 't':
        *size = LONG;
        p++;
        break;
    case 'L':
        *size = LONG_DOUBLE;
        p++;
        break;
    }
    return p;
}

static const char *parse_flags(const char *p, struct conversion *c)
{
    memset(c, 0, sizeof *c);
    for (;; p++)
        switch (*p) {
        case '-':
            c->left = 1;
            break;
        case '0':
            c->zeros = 1;
            break;
        case '#':
            c->alternate = 1;
            break;
        case '+':
            c->plus = '+';
            break;
        case ' ':
            if (!c->plus)
                c->plus = ' ';
            break;
        default:
            return p;
        }
}

static const char *parse_number(const char *p, int *number)
{
    long value;

    for (value = 0; isdigit((unsigned char)*p); p++) {
        value = value * 10 + (*p - '0');
        if (value > INT_MAX)
            __fatal("printf: a width or precision is too large");
    }
    *number = (int)value;
    return p;
}

static int format_all(struct sink *sink, const char *p, va_list arguments)
{
    struct conversion c;
    struct __parts parts;
    const char *begin;
    long number;
    char byte;
    int size;

    while (*p) {
        for (begin = p; *p && *p != '%'; p++)
            ;
        put(sink, begin, (size_t)(p - begin));
        if (*p == 0)
            break;
        p = parse_flags(p + 1, &c);
        if (*p == '*') {
            c.width = va_arg(arguments, int);
            if (c.width < 0) {
                if (c.width == INT_MIN)
                    __fatal("printf: a width is too large");
                c.left = 1;
                c.width = -c.width;
            }
            p++;
        } else {
            p = parse_number(p, &c.width);
        }
        c.precision = -1;
        if (*p == '.') {
            if (*++p == '*') {
                c.precision = va_arg(arguments, int);
                if (c.precision < 0)
                    c.precision = -1;
                p++;
            } else {
                p = parse_number(p, &c.precision);
            }
        }
        p = parse_size(p, &size);
        c.letter = *p++;
        switch (c.letter) {
        case 'd':
        case 'i':
            c.letter = 'd';
            number = size == LONG ? va_arg(arguments, long) : va_arg(arguments, int);
            if (size == SHORT)
                number = (short)number;
            if (size == CHAR)
                number = (signed char)number;
            put_integer(sink, &c, number < 0 ? -(unsigned long)number : (unsigned long)number,
                        number < 0);
            break;
        case 'u':
        case 'o':
        case 'x':
        case 'X':
            number = size == LONG ? va_arg(arguments, long) : (long)va_arg(arguments, unsigned int);
            if (size == SHORT)
                number = (unsigned short)number;
            if (size == CHAR)
                number = (unsigned char)number;
            put_integer(sink, &c, (unsigned long)number, 0);
            break;
        case 'p':
            put_integer(sink, &c, (unsigned long)va_arg(arguments, void *), 0);
            break;
        case 'c':
            byte = (char)va_arg(arguments, int);
            put_padded(sink, &c, "", 0, &byte, 1);
            break;
        case 's':
            put_string(sink, &c, va_arg(arguments, char *));
            break;
        case 'e':
        case 'E':
        case 'f':
        case 'F':
        case 'g':
        case 'G':
            if (size == LONG_DOUBLE)
                __parts_of_long_double(&parts, va_arg(arguments, long double));
            else
                __parts_of_double(&parts, va_arg(arguments, double));
            put_float(sink, &c, &parts);
            break;
        case '%':
            put(sink, "%", 1);
            break;
        default:
            __fatal("printf: a conversion that is not known");
        }
    }
    if (sink->failed)
        return -1;
    if (sink->length > INT_MAX) {
        errno = ERANGE;
        return -1;
    }
    return (int)sink->length;
}

int vfprintf(FILE *stream, const char *format, va_list arguments)
{
    struct sink sink;
    int held, length;

    memset(&sink, 0, sizeof sink);
    sink.stream = stream;
    held = __hold(stream);
    length = format_all(&sink, format, arguments);
    if (__let_go(stream, held) < 0)
        return -1;
    return length;
}

int vsnprintf(char *text, size_t size, const char *format, va_list arguments)
{
    struct sink sink;
    int length;

    memset(&sink, 0, sizeof sink);
    sink.text = text;
    sink.room = size ? size - 1 : 0;
    length = format_all(&sink, format, arguments);
    if (size)
        text[sink.length < sink.room ? sink.length : sink.room] = 0;
    return length;
}

int vprintf(const char *format, va_list arguments)
{
    return vfprintf(stdout, format, arguments);
}

int vsprintf(char *text, const char *format, va_list arguments)
{
    return vsnprintf(text, INT_MAX, format, arguments);
}

int printf(const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vfprintf(stdout, format, arguments);
    va_end(arguments);
    return length;
}

int fprintf(FILE *stream, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vfprintf(stream, format, arguments);
    va_end(arguments);
    return length;
}

int sprintf(char *text, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsprintf(text, format, arguments);
    va_end(arguments);
    return length;
}

int snprintf(char *text, size_t size, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(text, size, format, arguments);
    va_end(arguments);
    return length;
}

/* Integers (%d %u %x, with l or ll), white space, and bytes that must be there as
   they are. */
int sscanf(const char *text, const char *format, ...)
{
    va_list arguments;
    const char *p;
    char *end;
    unsigned long value;
    int size, count;

    count = 0;
    va_start(arguments, format);
    for (p = format; *p; p++) {
        if (isspace((unsigned char)*p)) {
            while (isspace((unsigned char)*text))
                text++;
            continue;
        }
        if (*p != '%') {
            if (*text++ != *p)
                break;
            continue;
        }
        p = parse_size(p + 1, &size);
        if ((size != INT && size != LONG) || (*p != 'd' && *p != 'u' && *p != 'x'))
            __fatal("sscanf: a conversion that is not known");
        value = strtoul(text, &end, *p == 'x' ? 16 : 10);
        if (end == text) {
            if (*text == 0 && count == 0)
                count = EOF;
            break;
        }
        if (size == LONG)
            *va_arg(arguments, unsigned long *) = value;
        else
            *va_arg(arguments, unsigned int *) = (unsigned int)value;
        text = end;
        count++;
    }
    va_end(arguments);
    return count;
}

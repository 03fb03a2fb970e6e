/* Reads numbers as a line of standard input says and prints what came of it:

     d TEXT       strtod: the bits and how many bytes were taken
     f TEXT       strtof
     l TEXT       strtold
     x N BITS     ldexp
     i BASE TEXT  strtol, strtoul, strtoll, strtoull */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char line[100000];

int main(void)
{
    while (fgets(line, sizeof line, stdin)) {
        char *text;
        char *end;
        union { double d; float f; long double l; unsigned long bits[2]; } u;

        if (strchr(line, '\n'))
            *strchr(line, '\n') = 0;
        text = line + 2;
        memset(&u, 0, sizeof u);
        errno = 0;
        switch (line[0]) {
        case 'd':
            u.d = strtod(text, &end);
            printf("%lx %d %d\n", u.bits[0], (int)(end - text),
                   errno && u.bits[0] << 1 == 2047UL << 53);
            break;
        case 'f':
            u.f = strtof(text, &end);
            printf("%lx %d %d\n", u.bits[0], (int)(end - text),
                   errno && (u.bits[0] & 0x7fffffff) == 255 << 23);
            break;
        case 'l':
            u.l = strtold(text, &end);
            printf("%lx %lx %d %d\n", u.bits[1] & 65535, u.bits[0], (int)(end - text),
                   errno && (u.bits[1] & 32767) == 32767);
            break;
        case 'x': {
            int n;

            n = (int)strtol(text, &end, 10);
            u.bits[0] = strtoul(end, &end, 16);
            u.d = ldexp(u.d, n);
            printf("%lx\n", u.bits[0]);
            break;
        }
        case 'i': {
            int base;
            char *begin;

            base = (int)strtol(text, &begin, 10);
            if (*begin == ' ')
                begin++;
            errno = 0;
            printf("%ld", strtol(begin, &end, base));
            printf(" %d %d", (int)(end - begin), errno);
            errno = 0;
            printf(" %lu", strtoul(begin, &end, base));
            printf(" %d %d", (int)(end - begin), errno);
            printf(" %lld", strtoll(begin, NULL, base));
            printf(" %llu %d %ld\n", strtoull(begin, NULL, base), atoi(begin) == (int)atol(begin), atol(begin));
            break;
        }
        default:
            printf("?\n");
            return 1;
        }
    }
    return 0;
}

/* Prints as a line of standard input says: TYPE STARS VALUE FORMAT, where TYPE is
   the type of the argument (c s: text, i int, l long, d double, L long double, the
   last two as bits) and STARS is how many of the int arguments -7 and 3, or 9 and
   -2, go before it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char line[1000];
static char out[20000];

#define SHOW(argument) \
    (stars == 0 ? snprintf(out, sizeof out, format, argument) \
     : stars == 1 ? snprintf(out, sizeof out, format, first, argument) \
     : snprintf(out, sizeof out, format, first, second, argument))

int main(void)
{
    while (fgets(line, sizeof line, stdin)) {
        char type;
        char *value;
        char *format;
        int stars, first, second, length, shorter;
        char small[9];
        union { double d; long double l; unsigned long bits[2]; } u;

        *strchr(line, '\n') = 0;
        type = line[0];
        stars = line[2] - '0';
        first = -7;
        second = 3;
        if (stars >= 5) {
            stars -= 5;
            first = 9;
            second = -2;
        }
        value = line + 4;
        format = strchr(value, ' ');
        *format++ = 0;
        memset(&u, 0, sizeof u);
        length = -1;
        shorter = 0;
        switch (type) {
        case 's':
            length = SHOW(value);
            shorter = snprintf(small, sizeof small, "%s", value);
            break;
        case 'i':
            length = SHOW((int)strtol(value, NULL, 10));
            break;
        case 'l':
            length = SHOW(strtol(value, NULL, 10));
            shorter = snprintf(small, sizeof small, "%ld", strtol(value, NULL, 10));
            break;
        case 'd':
            u.bits[0] = strtoul(value, NULL, 16);
            length = SHOW(u.d);
            break;
        case 'L': {
            char *next;

            u.bits[1] = strtoul(value, &next, 16);
            u.bits[0] = strtoul(next + 1, NULL, 16);
            length = SHOW(u.l);
            break;
        }
        }
        if (shorter)
            printf("%d [%s] ", shorter, small);
        printf("%d [%s]\n", length, out);
    }
    printf("%s|%5s|%-5s|%.2s|%c|%%|%5d|\n", "a", "b", "c", "def", 'g', -3);
    printf("%hhd %hd %hhu %hu %zu %zd %jd %td\n", 300, 70000, 300, 70000, (size_t)5, (long)-5, (long)-6, (long)7);
    printf("%s\n", (char *)NULL);
    printf("%p\n", (void *)4096);
    return 0;
}

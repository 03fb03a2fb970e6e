/* Memory and string functions on short random texts of few letters, so that they
   often have parts in common; ctype; the results in print. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long state = 1;

static unsigned int next(unsigned int n)
{
    state = state * 6364136223846793005UL + 1442695040888963407UL;
    return (unsigned int)(state >> 33) % n;
}

static int sign(int x)
{
    return (x > 0) - (x < 0);
}

static void fill(char *text, unsigned int longest)
{
    unsigned int n;

    for (n = next(longest); n > 0; n--)
        *text++ = "ab\377 c"[next(5)];
    *text = 0;
}

static long place(const char *text, const char *p)
{
    return p ? p - text : -1;
}

int main(void)
{
    char a[64], b[64], c[256];
    int i, n;
    unsigned int to;
    char *copy;

    for (i = 0; i < 20000; i++) {
        fill(a, 24);
        fill(b, next(2) ? 4 : 24);
        n = (int)next(20);
        printf("%d %d %d", sign(strcmp(a, b)), sign(strncmp(a, b, (size_t)n)),
               sign(memcmp(a, b, strlen(a) < strlen(b) ? strlen(a) : strlen(b))));
        printf(" %ld %ld %ld %ld %ld", place(a, strchr(a, b[0])), place(a, strrchr(a, b[0])),
               place(a, strstr(a, b)), place(a, strpbrk(a, b)), place(a, memchr(a, b[0], strlen(a))));
        printf(" %lu %lu %lu", strlen(a), strspn(a, b), strcspn(a, b));
        memset(c, '#', sizeof c);
        strncpy(c, a, (size_t)n);
        c[40] = 0;
        printf(" [%s]", c);
        strcpy(c, a);
        strcat(c, b);
        strncat(c, a, (size_t)n);
        printf(" [%s]", c);
        to = next(9);
        memmove(c + to, c + next(9), (size_t)n);
        memcpy(c + 100, c, 90);
        to = next(20);
        memset(c + to, 'z', next(20));
        c[99] = 0;
        copy = strdup(c);
        printf(" [%s]\n", copy);
        free(copy);
    }
    for (i = -1; i < 256; i++)
        printf("%d: %d%d%d%d%d%d%d%d%d%d%d %d %d\n", i, !!isalnum(i), !!isalpha(i), !!iscntrl(i),
               !!isdigit(i), !!isgraph(i), !!islower(i), !!isprint(i), !!ispunct(i), !!isspace(i),
               !!isupper(i), !!isxdigit(i), tolower(i), toupper(i));
    return 0;
}

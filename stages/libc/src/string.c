/* Memory and strings, a byte at a time. */
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <stdio.h>
#include "libc.h"

void *memcpy(void *to, const void *from, size_t n)
{
    char *t;
    const char *f;

    t = to;
    f = from;
    while (n--)
        *t++ = *f++;
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    char *t;
    const char *f;

    t = to;
    f = from;
    if (t <= f)
        return memcpy(to, from, n);
    while (n--)
        t[n] = f[n];
    return to;
}

void *memset(void *to, int c, size_t n)
{
    char *t;

    t = to;
    while (n--)
        *t++ = (char)c;
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *p;
    const unsigned char *q;

    p = a;
    q = b;
    for (; n; n--, p++, q++)
        if (*p != *q)
            return *p - *q;
    return 0;
}

void *memchr(const void *bytes, int c, size_t n)
{
    const unsigned char *p;

    for (p = bytes; n; n--, p++)
        if (*p == (unsigned char)c)
            return (void *)p;
    return NULL;
}

size_t strlen(const char *text)
{
    const char *p;

    for (p = text; *p; p++)
        ;
    return (size_t)(p - text);
}

char *strcpy(char *to, const char *from)
{
    memcpy(to, from, strlen(from) + 1);
    return to;
}

/* Up to n bytes, and NULs up to n. */
char *strncpy(char *to, const char *from, size_t n)
{
    size_t i;

    for (i = 0; i < n && from[i]; i++)
        to[i] = from[i];
    for (; i < n; i++)
        to[i] = 0;
    return to;
}

char *strcat(char *to, const char *from)
{
    strcpy(to + strlen(to), from);
    return to;
}

/* Up to n bytes, and always a NUL. */
char *strncat(char *to, const char *from, size_t n)
{
    char *end;
    size_t i;

    end = to + strlen(to);
    for (i = 0; i < n && from[i]; i++)
        end[i] = from[i];
    end[i] = 0;
    return to;
}

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (; n; n--, a++, b++)
        if (*a != *b || *a == 0)
            return (unsigned char)*a - (unsigned char)*b;
    return 0;
}

/* The NUL at the end can be searched for too. */
char *strchr(const char *text, int c)
{
    for (; *text != (char)c; text++)
        if (*text == 0)
            return NULL;
    return (char *)text;
}

char *strrchr(const char *text, int c)
{
    const char *last;

    last = NULL;
    do
        if (*text == (char)c)
            last = text;
    while (*text++);
    return (char *)last;
}

char *strstr(const char *text, const char *part)
{
    size_t n;

    n = strlen(part);
    for (;; text++) {
        if (strncmp(text, part, n) == 0)
            return (char *)text;
        if (*text == 0)
            return NULL;
    }
}

size_t strspn(const char *text, const char *set)
{
    size_t n;

    for (n = 0; text[n] && strchr(set, text[n]); n++)
        ;
    return n;
}

size_t strcspn(const char *text, const char *set)
{
    size_t n;

    for (n = 0; text[n] && !strchr(set, text[n]); n++)
        ;
    return n;
}

char *strpbrk(const char *text, const char *set)
{
    text += strcspn(text, set);
    return *text ? (char *)text : NULL;
}

char *strdup(const char *text)
{
    char *copy;
    size_t n;

    n = strlen(text) + 1;
    copy = malloc(n);
    if (copy)
        memcpy(copy, text, n);
    return copy;
}

struct reason {
    int number;
    const char *text;
};

static const struct reason reasons[] = {
    { 0, "no error" },
    { EPERM, "not permitted" },
    { ENOENT, "no such file or directory" },
    { EINTR, "interrupted" },
    { EIO, "input or output error" },
    { E2BIG, "arguments too long" },
    { ENOEXEC, "not a program" },
    { EBADF, "file is not open for this" },
    { ECHILD, "no child process" },
    { EAGAIN, "not available now" },
    { ENOMEM, "out of memory" },
    { EACCES, "permission denied" },
    { EFAULT, "bad address" },
    { EEXIST, "file exists" },
    { ENOTDIR, "not a directory" },
    { EISDIR, "is a directory" },
    { EINVAL, "invalid argument" },
    { EMFILE, "too many open files" },
    { EFBIG, "file too large" },
    { ENOSPC, "no space left" },
    { ESPIPE, "no place to seek to" },
    { EROFS, "read-only file system" },
    { EPIPE, "nobody reads the pipe" },
    { EDOM, "argument out of range" },
    { ERANGE, "result out of range" },
    { ENAMETOOLONG, "name too long" },
    { ENOSYS, "not implemented" },
    { ENOTEMPTY, "directory is not empty" },
    { ELOOP, "too many symbolic links" }
};

char *strerror(int number)
{
    static char other[32];
    size_t i;

    for (i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].number == number)
            return (char *)reasons[i].text;
    sprintf(other, "error %d", number);
    return other;
}

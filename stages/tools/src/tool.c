/* What the tools share: see tool.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tool.h"

static const char *program_name = "tool";
static const char *unfinished;       /* the file that create made */

void start(const char *program)
{
    program_name = program;
    umask(022);
}

static void give_up(void)
{
    if (unfinished)
        unlink(unfinished);
    exit(1);
}

void fail(const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fprintf(stderr, "%s: ", program_name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    give_up();
}

void usage(const char *arguments)
{
    fprintf(stderr, "usage: %s %s\n", program_name, arguments);
    give_up();
}

const char *reason(void)
{
    return strerror(errno);
}

void *need(size_t size)
{
    void *memory;

    memory = malloc(size ? size : 1);
    if (!memory)
        fail("out of memory");
    return memory;
}

FILE *open_input(const char *path)
{
    FILE *file;

    if (strcmp(path, "-") == 0)
        return stdin;
    file = fopen(path, "rb");
    if (!file)
        fail("%s: %s", path, reason());
    return file;
}

FILE *create(const char *path)
{
    FILE *file;
    struct stat about;

    if (strcmp(path, "-") == 0)
        return stdout;
    file = fopen(path, "wb");
    if (!file || fstat(fileno(file), &about) != 0)
        fail("%s: %s", path, reason());
    if (S_ISREG(about.st_mode))          /* a device must stay */
        unfinished = path;
    return file;
}

void finish(FILE *file, const char *path)
{
    if (ferror(file) || (file == stdout ? fflush(file) : fclose(file)) != 0)
        fail("%s: %s", path, reason());
    unfinished = NULL;
}

void write_bytes(FILE *file, const char *path, const void *bytes, size_t n)
{
    if (n > 0 && fwrite(bytes, 1, n, file) != n)
        fail("%s: %s", path, reason());
}

unsigned char *read_file(const char *path, size_t *size)
{
    FILE *file;
    unsigned char *bytes;
    size_t room, n;

    file = open_input(path);
    room = 65536;
    bytes = need(room);
    *size = 0;
    for (;;) {
        n = fread(bytes + *size, 1, room - 1 - *size, file);
        *size += n;
        if (*size < room - 1)
            break;
        room *= 2;
        bytes = realloc(bytes, room);
        if (!bytes)
            fail("out of memory");
    }
    if (ferror(file))
        fail("%s: %s", path, reason());
    if (file != stdin)
        fclose(file);
    bytes[*size] = 0;
    return bytes;
}

void copy_file(const char *from, const char *to)
{
    FILE *in;
    FILE *out;
    struct stat about;
    struct stat there;
    char block[8192];
    size_t n;

    in = open_input(from);
    if (fstat(fileno(in), &about) != 0)
        fail("%s: %s", from, reason());
    if (stat(to, &there) == 0 && there.st_dev == about.st_dev && there.st_ino == about.st_ino)
        fail("%s and %s are the same file", from, to);
    out = create(to);
    while ((n = fread(block, 1, sizeof block, in)) > 0)
        write_bytes(out, to, block, n);
    if (ferror(in))
        fail("%s: %s", from, reason());
    if (out != stdout && fchmod(fileno(out), about.st_mode & 0100 ? 0755 : 0644) != 0)
        fail("%s: %s", to, reason());
    finish(out, to);
    if (in != stdin)
        fclose(in);
}

static void make_folder(const char *path)
{
    struct stat about;

    if (mkdir(path, 0755) == 0)
        return;
    if (errno != EEXIST)
        fail("%s: %s", path, reason());
    if (stat(path, &about) != 0 || !S_ISDIR(about.st_mode))
        fail("%s is there and not a folder", path);
}

void make_folders(const char *path, int last)
{
    char *copy;
    char *p;

    copy = need(strlen(path) + 1);
    strcpy(copy, path);
    for (p = copy; *p; p++)
        if (*p == '/' && p > copy && p[-1] != '/') {
            *p = 0;
            make_folder(copy);
            *p = '/';
        }
    if (last && p > copy && p[-1] != '/')
        make_folder(copy);
    free(copy);
}

unsigned int crc32_of(unsigned int crc, const unsigned char *bytes, size_t n)
{
    static unsigned int table[256];
    unsigned int i, bit, value;

    if (table[1] == 0)
        for (i = 0; i < 256; i++) {
            value = i;
            for (bit = 0; bit < 8; bit++)
                value = value & 1 ? value >> 1 ^ 0xedb88320 : value >> 1;
            table[i] = value;
        }
    crc = ~crc;
    for (; n > 0; n--)
        crc = crc >> 8 ^ table[(crc ^ *bytes++) & 255];
    return ~crc;
}

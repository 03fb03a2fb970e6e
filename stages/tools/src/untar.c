/* untar [-s N] ARCHIVE FOLDER  unpacks a tar archive into the FOLDER, which must not
   be there and is made; "-" is standard input. With -s, the first N parts of each
   name are left out, and entries that have no more parts.

   Understood are the formats of V7, ustar, pax (path, linkpath, size; the rest is
   left out) and GNU (long names), with files, folders, and symbolic and hard
   links. Anything else in an archive is an error, as are a wrong checksum, an end
   without a block of zeros, and a name that occurs twice.

   Nothing is written outside of the FOLDER: names that are absolute or have ".."
   in them are errors. Symbolic links are made after all else, so that no name
   leads through one of them, and one may only name what is in the FOLDER.

   Files have mode 0755 if their owner may run them, else 0644; folders 0755. Owners
   and times are left out. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tool.h"

enum { BLOCK = 512, LONGEST = 65536 };

/* The header: where its fields are, and how long. */
enum {
    NAME = 0,        NAME_SIZE = 100,
    MODE = 100,      MODE_SIZE = 8,
    SIZE = 124,      SIZE_SIZE = 12,
    CHECKSUM = 148,  CHECKSUM_SIZE = 8,
    TYPE = 156,
    LINK = 157,      LINK_SIZE = 100,
    MAGIC = 257,
    PREFIX = 345,    PREFIX_SIZE = 155
};

static const char *archive;
static FILE *in;
static const char *folder;
static long strip;

/* Blocks and numbers */

static void read_block(unsigned char *block)
{
    if (fread(block, 1, BLOCK, in) != BLOCK) {
        if (ferror(in))
            fail("%s: %s", archive, reason());
        fail("%s: the archive ends too early", archive);
    }
}

/* An octal number, with blanks around it. */
static long octal(const unsigned char *field, int size, const char *what)
{
    long value;
    int i;

    i = 0;
    value = 0;
    while (i < size && field[i] == ' ')
        i++;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
        value = value * 8 + (field[i] - '0');
    if (i < size && field[i] != 0 && field[i] != ' ')
        fail("%s: the %s in a header is not an octal number", archive, what);
    return value;
}

static int is_zero(const unsigned char *block)
{
    int i;

    for (i = 0; i < BLOCK; i++)
        if (block[i])
            return 0;
    return 1;
}

/* The sum of all bytes with blanks for the sum itself. */
static void check_sum(const unsigned char *block)
{
    long sum;
    int i;

    sum = 0;
    for (i = 0; i < BLOCK; i++)
        sum += i >= CHECKSUM && i < CHECKSUM + CHECKSUM_SIZE ? ' ' : block[i];
    if (sum != octal(block + CHECKSUM, CHECKSUM_SIZE, "checksum"))
        fail("%s: the checksum of a header is wrong", archive);
}

/* Names */

/* A text that grows; NULL as long as there is none. */
static char *copy_text(const unsigned char *from, size_t n)
{
    char *text;

    text = need(n + 1);
    memcpy(text, from, n);
    text[n] = 0;
    return text;
}

static size_t field_length(const unsigned char *field, size_t size)
{
    size_t n;

    for (n = 0; n < size && field[n]; n++)
        ;
    return n;
}

/* The name in a header: ustar has its beginning in another field. */
static char *header_name(const unsigned char *block)
{
    size_t n, before;
    char *name;

    n = field_length(block + NAME, NAME_SIZE);
    before = 0;
    if (memcmp(block + MAGIC, "ustar\0", 6) == 0)
        before = field_length(block + PREFIX, PREFIX_SIZE);
    if (before == 0)
        return copy_text(block + NAME, n);
    name = need(before + n + 2);
    memcpy(name, block + PREFIX, before);
    name[before] = '/';
    memcpy(name + before + 1, block + NAME, n);
    name[before + 1 + n] = 0;
    return name;
}

/* The place of an entry: FOLDER, then the parts of its name without the first
   ones and without ".". NULL if nothing is left. */
static char *place_of(const char *name)
{
    const char *p;
    char *place;
    char *to;
    size_t n;
    long part;

    if (*name == '/')
        fail("%s: the name %s is absolute", archive, name);
    place = need(strlen(folder) + strlen(name) + 2);
    strcpy(place, folder);
    to = place + strlen(place);
    part = 0;
    for (p = name; *p; p += n) {
        while (*p == '/')
            p++;
        n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.')
            fail("%s: a name leads out with ..: %s", archive, name);
        if (n == 0 || (n == 1 && p[0] == '.'))
            continue;
        if (part++ < strip)
            continue;
        *to++ = '/';
        memcpy(to, p, n);
        to += n;
    }
    *to = 0;
    if (part <= strip) {
        free(place);
        return NULL;
    }
    return place;
}

/* Entries */

/* The mode lets nobody wonder which umask was there. */
static void unpack_file(const char *place, const char *name, long size, int mode)
{
    unsigned char block[BLOCK];
    FILE *out;
    size_t n;
    int fd;

    out = NULL;
    fd = -1;
    if (place) {
        make_folders(place, 0);
        fd = open(place, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        if (fd < 0)
            fail("%s: %s: %s", archive, name, reason());
        if (fchmod(fd, (mode_t)mode) != 0)
            fail("%s: %s", place, reason());
        out = fdopen(fd, "wb");
        if (!out)
            fail("%s: %s", place, reason());
    }
    for (; size > 0; size -= (long)n) {
        read_block(block);
        n = size < BLOCK ? (size_t)size : BLOCK;
        if (out)
            write_bytes(out, place, block, n);
    }
    if (out && fclose(out) != 0)
        fail("%s: %s", place, reason());
}

/* Symbolic links wait here until the end. */
struct waiting {
    char *place;
    char *target;
    struct waiting *next;
};

static struct waiting *first_waiting;
static struct waiting **last_waiting = &first_waiting;

/* A target may go up only at its beginning and not above the FOLDER: further back,
   ".." would depend on where another link leads. */
static void check_target(const char *place, const char *target, const char *name)
{
    const char *p;
    size_t n;
    long up;
    int down;

    up = -1;                  /* the folders between FOLDER and the link */
    for (p = place + strlen(folder); *p; p++)
        up += *p == '/';
    if (*target == 0 || *target == '/')
        fail("%s: the link %s to %s leads out", archive, name, target);
    down = 0;
    for (p = target; *p; p += n) {
        while (*p == '/')
            p++;
        n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.') {
            if (down || up-- == 0)
                fail("%s: the link %s to %s leads out", archive, name, target);
        } else if (n > 0 && !(n == 1 && p[0] == '.')) {
            down = 1;
        }
    }
}

static void keep_link(char *place, const char *target, const char *name)
{
    struct waiting *w;

    check_target(place, target, name);
    make_folders(place, 0);
    w = need(sizeof *w);
    w->place = place;
    w->target = copy_text((const unsigned char *)target, strlen(target));
    w->next = NULL;
    *last_waiting = w;
    last_waiting = &w->next;
}

static void make_links(void)
{
    struct waiting *w;

    for (w = first_waiting; w; w = w->next)
        if (symlink(w->target, w->place) != 0)
            fail("%s: %s: %s", archive, w->place, reason());
}

/* The target of a hard link is a name in the archive, of a file that came before
   it. */
static void hard_link(const char *place, const char *target, const char *name)
{
    char *old;

    old = place_of(target);
    if (!old)
        fail("%s: the link %s leads to what is left out", archive, name);
    make_folders(place, 0);
    if (link(old, place) != 0)
        fail("%s: the link %s to %s: %s", archive, name, target, reason());
    free(old);
}

/* Entries about the next entry */

static char *next_name;
static char *next_link;
static long next_size = -1;

static unsigned char *read_text(long size)
{
    unsigned char *text;
    long n;

    if (size > LONGEST)
        fail("%s: a name or header of %ld bytes", archive, size);
    text = need((size_t)(size + 2 * BLOCK));
    for (n = 0; n < size; n += BLOCK)
        read_block(text + n);
    text[size] = 0;
    return text;
}

static void set_text(char **text, const unsigned char *value, size_t n)
{
    free(*text);
    *text = copy_text(value, n);
    if (strlen(*text) != n)
        fail("%s: a name with a NUL in it", archive);
}

/* Records "LENGTH KEY=VALUE\n", where the length is that of the whole record. */
static void read_pax(const unsigned char *text, long size)
{
    const unsigned char *end;
    const unsigned char *key;
    const unsigned char *value;
    const unsigned char *record_end;
    const unsigned char *p;
    long length;

    end = text + size;
    while (text < end) {
        length = 0;
        for (p = text; p < end && *p >= '0' && *p <= '9' && length <= size; p++)
            length = length * 10 + (*p - '0');
        if (p == text || p == end || *p != ' ' || length > end - text || length <= p - text)
            fail("%s: a pax header is not well formed", archive);
        key = p + 1;
        record_end = text + length - 1;
        value = key < record_end ? memchr(key, '=', (size_t)(record_end - key)) : NULL;
        if (!value || *record_end != '\n')
            fail("%s: a pax header is not well formed", archive);
        value++;
        if (memcmp(key, "path=", 5) == 0) {
            set_text(&next_name, value, (size_t)(record_end - value));
        } else if (memcmp(key, "linkpath=", 9) == 0) {
            set_text(&next_link, value, (size_t)(record_end - value));
        } else if (memcmp(key, "size=", 5) == 0) {
            next_size = 0;
            for (p = value; p < record_end; p++) {
                if (*p < '0' || *p > '9' || next_size > 1L << 50)
                    fail("%s: the size in a pax header is not a number", archive);
                next_size = next_size * 10 + (*p - '0');
            }
            if (p == value)
                fail("%s: the size in a pax header is not a number", archive);
        } else if (memcmp(key, "GNU.sparse.", 11) == 0) {
            fail("%s: files with holes are not supported", archive);
        }
        text += length;
    }
}

static void entry(const unsigned char *block)
{
    unsigned char *text;
    char *name;
    char *link_name;
    char *place;
    long size, mode;
    int type;

    check_sum(block);
    type = block[TYPE];
    size = octal(block + SIZE, SIZE_SIZE, "size");
    if (type == 'x' || type == 'g' || type == 'L' || type == 'K') {
        text = read_text(size);
        if (type == 'x')
            read_pax(text, size);
        else if (type == 'L')
            set_text(&next_name, text, field_length(text, (size_t)size));
        else if (type == 'K')
            set_text(&next_link, text, field_length(text, (size_t)size));
        free(text);
        return;
    }
    if (next_size >= 0)
        size = next_size;
    mode = octal(block + MODE, MODE_SIZE, "mode");
    name = next_name ? next_name : header_name(block);
    link_name = next_link ? next_link
        : copy_text(block + LINK, field_length(block + LINK, LINK_SIZE));
    next_name = NULL;
    next_link = NULL;
    next_size = -1;
    if (*name == 0)
        fail("%s: an entry without a name", archive);
    /* V7 has no type for folders. */
    if ((type == 0 || type == '0') && name[strlen(name) - 1] == '/')
        type = '5';
    place = place_of(name);
    switch (type) {
    case 0:
    case '0':
    case '7':
        unpack_file(place, name, size, mode & 0100 ? 0755 : 0644);
        break;
    case '1':
        if (place)
            hard_link(place, link_name, name);
        break;
    case '2':
        if (place) {
            keep_link(place, link_name, name);
            place = NULL;
        }
        break;
    case '5':
        if (place)
            make_folders(place, 1);
        break;
    default:
        fail("%s: %s is of type %c, which is not supported", archive, name, type);
    }
    free(place);
    free(name);
    free(link_name);
}

int main(int argc, char **argv)
{
    unsigned char block[BLOCK];
    char *end;
    int i;

    start("untar");
    i = 1;
    if (argc > 2 && strcmp(argv[1], "-s") == 0) {
        strip = strtol(argv[2], &end, 10);
        if (end == argv[2] || *end || strip < 0)
            fail("-s %s: not a number", argv[2]);
        i = 3;
    }
    if (argc - i != 2)
        usage("[-s N] ARCHIVE FOLDER");
    archive = argv[i];
    folder = argv[i + 1];
    in = open_input(archive);
    make_folders(folder, 0);
    if (mkdir(folder, 0755) != 0)
        fail("%s: %s", folder, reason());
    for (;;) {
        read_block(block);
        if (is_zero(block))
            break;
        entry(block);
    }
    if (next_name || next_link || next_size >= 0)
        fail("%s: the last header is about nothing", archive);
    /* One block of zeros or more, and nothing else. */
    while (fread(block, 1, BLOCK, in) == BLOCK)
        if (!is_zero(block))
            fail("%s: something follows the end of the archive", archive);
    if (ferror(in))
        fail("%s: %s", archive, reason());
    make_links();
    return 0;
}

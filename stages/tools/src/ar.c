/* ar ARCHIVE FILE...  makes a static library of object files: ELF relocatables of 64
   bits, low byte first. An ARCHIVE that is there is replaced.

   The members are in the order of the arguments, with time, owner and group 0 and
   mode 644, so that the same objects give the same archive. In front is the index
   of the symbols that they define, global and weak ones; where two have a
   symbol, both are listed, and a linker takes the first.

   The format (System V, GNU): "!<arch>\n", then for each member a header of 60
   bytes and its content, filled up to an even length with a line feed. The member
   "/" is the index: the number of symbols, for each the place of its member's
   header (4 bytes each, high byte first), then the names, filled up with a NUL.
   Names of members end in "/"; those that are too long for their field stand in the
   member "//", and the field has "/" and the place there. */
#include <stdlib.h>
#include <string.h>
#include "tool.h"

enum { HEADER = 60, NAME_FIELD = 15 };

struct member {
    const char *path;
    const char *name;         /* without folders */
    unsigned char *bytes;
    size_t size;
    long long_name;           /* its place in "//", -1 if it is short */
    unsigned long place;      /* of its header in the archive */
};

static struct member *members;
static int member_count;

static const char *out_name;
static FILE *out;

/* ELF */

enum {
    EHDR_SIZE = 64, E_SHOFF = 40, E_SHENTSIZE = 58, E_SHNUM = 60,
    SHDR_SIZE = 64, SH_TYPE = 4, SH_OFFSET = 24, SH_SIZE = 32, SH_LINK = 40, SH_INFO = 44,
    SYM_SIZE = 24, ST_INFO = 4, ST_SHNDX = 6,
    SHT_SYMTAB = 2, SHT_STRTAB = 3, STB_GLOBAL = 1, STB_WEAK = 2
};

static unsigned long number(const unsigned char *p, int bytes)
{
    unsigned long value;

    value = 0;
    while (bytes-- > 0)
        value = value << 8 | p[bytes];
    return value;
}

/* n bytes of the object from a place on that must be within. */
static const unsigned char *part(const struct member *m, unsigned long place, unsigned long n)
{
    if (place > m->size || n > m->size - place)
        fail("%s: a table reaches beyond the file", m->path);
    return m->bytes + place;
}

static const unsigned char *section(const struct member *m, unsigned long n)
{
    unsigned long count;

    count = number(m->bytes + E_SHNUM, 2);
    if (n >= count)
        fail("%s: a section that does not exist", m->path);
    return part(m, number(m->bytes + E_SHOFF, 8), count * SHDR_SIZE) + n * SHDR_SIZE;
}

/* The index, as it is written */

struct symbol {
    const char *name;
    struct member *member;
};

static struct symbol *symbols;
static size_t symbol_count;
static size_t symbol_room;

static void add_symbol(struct member *m, const char *name)
{
    if (symbol_count == symbol_room) {
        symbol_room = symbol_room ? symbol_room * 2 : 1024;
        symbols = realloc(symbols, symbol_room * sizeof *symbols);
        if (!symbols)
            fail("out of memory");
    }
    symbols[symbol_count].name = name;
    symbols[symbol_count++].member = m;
}

static void add_table(struct member *m, const unsigned char *table)
{
    const unsigned char *strings;
    const unsigned char *text;
    const unsigned char *symbol;
    unsigned long size, text_size, name, binding, i;

    strings = section(m, number(table + SH_LINK, 4));
    if (number(strings + SH_TYPE, 4) != SHT_STRTAB)
        fail("%s: the symbols have no names", m->path);
    text_size = number(strings + SH_SIZE, 8);
    text = part(m, number(strings + SH_OFFSET, 8), text_size);
    if (text_size == 0 || text[text_size - 1] != 0)
        fail("%s: the names of symbols have no end", m->path);
    size = number(table + SH_SIZE, 8);
    symbol = part(m, number(table + SH_OFFSET, 8), size);
    for (i = 0; i < size / SYM_SIZE; i++, symbol += SYM_SIZE) {
        binding = symbol[ST_INFO] >> 4;
        if (binding != STB_GLOBAL && binding != STB_WEAK)
            continue;
        if (number(symbol + ST_SHNDX, 2) == 0)        /* used, not defined */
            continue;
        name = number(symbol, 4);
        if (name >= text_size)
            fail("%s: a symbol's name is beyond the names", m->path);
        add_symbol(m, (const char *)text + name);
    }
}

static void add_symbols(struct member *m)
{
    static const unsigned char relocatable[] = { 0x7f, 'E', 'L', 'F', 2, 1, 1 };
    unsigned long i, count;
    const unsigned char *s;

    if (m->size < EHDR_SIZE || memcmp(m->bytes, relocatable, sizeof relocatable) != 0 ||
        number(m->bytes + 16, 2) != 1)
        fail("%s: not an object file of ELF for 64 bits", m->path);
    count = number(m->bytes + E_SHNUM, 2);
    if (count > 0 && number(m->bytes + E_SHENTSIZE, 2) != SHDR_SIZE)
        fail("%s: sections of a strange size", m->path);
    for (i = 0; i < count; i++) {
        s = section(m, i);
        if (number(s + SH_TYPE, 4) == SHT_SYMTAB)
            add_table(m, s);
    }
}

/* The archive */

/* id is what stands for time, owner and group. */
static void write_header(const char *name, const char *id, const char *mode, unsigned long size)
{
    char header[HEADER + 1];

    if (size > 999999999)
        fail("%s: too large for an archive", out_name);
    sprintf(header, "%-16s%-12s%-6s%-6s%-8s%-10lu`\n", name, id, id, id, mode, size);
    write_bytes(out, out_name, header, HEADER);
}

static void write_padding(unsigned long size)
{
    if (size % 2)
        write_bytes(out, out_name, "\n", 1);
}

static unsigned long even(unsigned long size)
{
    return size + size % 2;
}

static void write_number(unsigned long value)
{
    unsigned char bytes[4];
    int i;

    if (value > 0xffffffff)
        fail("%s: too large for an index", out_name);
    for (i = 0; i < 4; i++)
        bytes[i] = (unsigned char)(value >> (24 - 8 * i));
    write_bytes(out, out_name, bytes, 4);
}

static void write_archive(void)
{
    unsigned long index_size, names_size, place;
    char field[32];
    struct member *m;
    size_t i;

    index_size = 4 + 4 * symbol_count;
    for (i = 0; i < symbol_count; i++)
        index_size += strlen(symbols[i].name) + 1;
    names_size = 0;
    for (m = members; m < members + member_count; m++) {
        m->long_name = -1;
        if (strlen(m->name) > NAME_FIELD) {
            m->long_name = (long)names_size;
            names_size += strlen(m->name) + 2;
        }
    }
    place = 8 + HEADER + even(index_size);
    if (names_size)
        place += HEADER + even(names_size);
    for (m = members; m < members + member_count; m++) {
        m->place = place;
        place += HEADER + even(m->size);
    }

    write_bytes(out, out_name, "!<arch>\n", 8);
    write_header("/", "0", "0", even(index_size));
    write_number(symbol_count);
    for (i = 0; i < symbol_count; i++)
        write_number(symbols[i].member->place);
    for (i = 0; i < symbol_count; i++)
        write_bytes(out, out_name, symbols[i].name, strlen(symbols[i].name) + 1);
    if (index_size % 2)
        write_bytes(out, out_name, "", 1);
    if (names_size) {
        write_header("//", "", "", names_size);
        for (m = members; m < members + member_count; m++)
            if (m->long_name >= 0) {
                write_bytes(out, out_name, m->name, strlen(m->name));
                write_bytes(out, out_name, "/\n", 2);
            }
        write_padding(names_size);
    }
    for (m = members; m < members + member_count; m++) {
        if (m->long_name >= 0)
            sprintf(field, "/%ld", m->long_name);
        else
            sprintf(field, "%s/", m->name);
        write_header(field, "0", "644", m->size);
        write_bytes(out, out_name, m->bytes, m->size);
        write_padding(m->size);
    }
}

int main(int argc, char **argv)
{
    struct member *m;
    const char *slash;
    int i;

    start("ar");
    if (argc < 3)
        usage("ARCHIVE FILE...");
    out_name = argv[1];
    members = need((size_t)(argc - 2) * sizeof *members);
    for (i = 2; i < argc; i++) {
        m = &members[member_count++];
        m->path = argv[i];
        slash = strrchr(m->path, '/');
        m->name = slash ? slash + 1 : m->path;
        m->bytes = read_file(m->path, &m->size);
        add_symbols(m);
    }
    out = create(out_name);
    write_archive();
    finish(out, out_name);
    return 0;
}

/* gunzip IN OUT  decompresses the gzip file IN (RFC 1952 and 1951); "-" is
   standard input or output.

   The file's members, of which there is mostly one, are put out one behind the
   other. Checksum and length of each are verified, as is that nothing follows the
   last. */
#include <string.h>
#include "tool.h"

enum {
    WINDOW = 32768,           /* how far back a match reaches */
    ROOM = 2 * WINDOW,
    MAX_BITS = 15,            /* of a code */
    LENGTHS = 288,            /* codes for literals and lengths */
    DISTANCES = 32,
    END_OF_BLOCK = 256
};

static const char *in_name;
static const char *out_name;
static FILE *in;
static FILE *out;

/* Input: bytes, and bits from the low end of each byte */

static unsigned int bits;     /* bits that were read and not taken */
static int bit_count;

static int byte_or_end(void)
{
    int c;

    c = getc(in);
    if (c == EOF && ferror(in))
        fail("%s: %s", in_name, reason());
    return c;
}

static unsigned int byte(void)
{
    int c;

    c = byte_or_end();
    if (c == EOF)
        fail("%s: the file ends too early", in_name);
    return (unsigned int)c;
}

static unsigned int take_bits(int n)
{
    unsigned int value;

    while (bit_count < n) {
        bits |= byte() << bit_count;
        bit_count += 8;
    }
    value = bits & ((1U << n) - 1);
    bits >>= n;
    bit_count -= n;
    return value;
}

/* The next whole byte, after the rest of this one was left out. */
static unsigned int aligned_byte(void)
{
    take_bits(bit_count % 8);
    return take_bits(8);
}

/* Output: the first half of the room is the window, the second what has come
   since. */

static unsigned char text[ROOM];
static size_t text_length;
static size_t text_written;   /* up to here it is put out and in the checksum */
static unsigned int crc;
static unsigned int member_length;

static void write_out(void)
{
    size_t n;

    n = text_length - text_written;
    crc = crc32_of(crc, text + text_written, n);
    member_length += (unsigned int)n;
    write_bytes(out, out_name, text + text_written, n);
    text_written = text_length;
}

static void emit(unsigned int c)
{
    if (text_length == ROOM) {
        write_out();
        memcpy(text, text + ROOM - WINDOW, WINDOW);
        text_length = text_written = WINDOW;
    }
    text[text_length++] = (unsigned char)c;
}

/* Huffman codes

   A code is given by the length of each symbol's code word. Words of one length
   are consecutive numbers in the order of their symbols, and the first word of a
   length is the one behind the last of the length before, with a 0 added. */

struct code {
    unsigned int count[MAX_BITS + 1];      /* words of each length */
    unsigned int symbol[LENGTHS];          /* in the order of their words */
};

/* Code words that belong to no symbol are allowed if there is at most one
   symbol. */
static void make_code(struct code *code, const unsigned char *length, unsigned int symbols)
{
    unsigned int next[MAX_BITS + 1];
    unsigned int i, n, used;
    unsigned int space;       /* words of this length that are still free */

    memset(code->count, 0, sizeof code->count);
    for (i = 0; i < symbols; i++)
        code->count[length[i]]++;
    used = symbols - code->count[0];
    code->count[0] = 0;
    space = 1;
    n = 0;
    for (i = 1; i <= MAX_BITS; i++) {
        space *= 2;
        if (space < code->count[i])
            fail("%s: a code has too many words", in_name);
        space -= code->count[i];
        next[i] = n;
        n += code->count[i];
    }
    if (space > 0 && used > 0 && !(used == 1 && code->count[1] == 1))
        fail("%s: a code has too few words", in_name);
    for (i = 0; i < symbols; i++)
        if (length[i] > 0)
            code->symbol[next[length[i]]++] = i;
}

static unsigned int decode(const struct code *code)
{
    unsigned int word;        /* less the first word of this length */
    unsigned int before;      /* symbols with shorter words */
    int length;

    word = 0;
    before = 0;
    for (length = 1; length <= MAX_BITS; length++) {
        word = word * 2 + take_bits(1);
        if (word < code->count[length])
            return code->symbol[before + word];
        word -= code->count[length];
        before += code->count[length];
    }
    fail("%s: a word that is not in the code", in_name);
    return 0;
}

/* Blocks */

static struct code lengths;   /* literals, the end of the block, lengths */
static struct code distances;

static void stored_block(void)
{
    unsigned int n, complement;

    n = aligned_byte();
    n |= take_bits(8) << 8;
    complement = take_bits(8);
    complement |= take_bits(8) << 8;
    if ((n ^ complement) != 0xffff)
        fail("%s: the length of a stored block is wrong", in_name);
    for (; n > 0; n--)
        emit(take_bits(8));
}

static void fixed_codes(void)
{
    unsigned char length[LENGTHS];

    memset(length, 8, 144);
    memset(length + 144, 9, 112);
    memset(length + 256, 7, 24);
    memset(length + 280, 8, 8);
    make_code(&lengths, length, LENGTHS);
    memset(length, 5, DISTANCES);
    make_code(&distances, length, DISTANCES);
}

/* The codes of this block: their lengths are themselves coded, with symbols that
   stand for a length or for repetitions. */
static void own_codes(void)
{
    static const unsigned char order[19] = {
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15
    };
    unsigned char length[LENGTHS + DISTANCES];
    unsigned char first[19];
    unsigned int length_count, distance_count, first_count;
    unsigned int i, symbol, times, value;

    length_count = take_bits(5) + 257;
    distance_count = take_bits(5) + 1;
    first_count = take_bits(4) + 4;
    if (length_count > 286 || distance_count > 30)
        fail("%s: a block has too many codes", in_name);
    memset(first, 0, sizeof first);
    for (i = 0; i < first_count; i++)
        first[order[i]] = (unsigned char)take_bits(3);
    make_code(&lengths, first, 19);
    for (i = 0; i < length_count + distance_count;) {
        symbol = decode(&lengths);
        times = 1;
        value = symbol;
        if (symbol == 16) {
            if (i == 0)
                fail("%s: there is no code length to repeat", in_name);
            value = length[i - 1];
            times = 3 + take_bits(2);
        } else if (symbol == 17) {
            value = 0;
            times = 3 + take_bits(3);
        } else if (symbol == 18) {
            value = 0;
            times = 11 + take_bits(7);
        }
        if (times > length_count + distance_count - i)
            fail("%s: too many code lengths", in_name);
        for (; times > 0; times--)
            length[i++] = (unsigned char)value;
    }
    if (length[END_OF_BLOCK] == 0)
        fail("%s: a block has no end", in_name);
    make_code(&distances, length + length_count, distance_count);
    make_code(&lengths, length, length_count);
}

/* Lengths 3 to 258: 8 symbols without extra bits, then four for each number of
   them; the last stands for 258 alone. */
static unsigned int length_of(unsigned int symbol)
{
    unsigned int n, extra;

    n = symbol - 257;
    if (n < 8)
        return n + 3;
    if (n == 28)
        return 258;
    extra = n / 4 - 1;
    return ((4 + n % 4) << extra) + take_bits((int)extra) + 3;
}

/* Distances 1 to 32768: 4 symbols without extra bits, then two for each number of
   them. */
static unsigned int distance_of(unsigned int symbol)
{
    unsigned int extra;

    if (symbol < 4)
        return symbol + 1;
    extra = symbol / 2 - 1;
    return ((2 + symbol % 2) << extra) + take_bits((int)extra) + 1;
}

static void coded_block(void)
{
    unsigned int symbol, length, distance;

    for (;;) {
        symbol = decode(&lengths);
        if (symbol == END_OF_BLOCK)
            return;
        if (symbol < END_OF_BLOCK) {
            emit(symbol);
            continue;
        }
        if (symbol > 285)
            fail("%s: a length that does not exist", in_name);
        length = length_of(symbol);
        symbol = decode(&distances);
        if (symbol > 29)
            fail("%s: a distance that does not exist", in_name);
        distance = distance_of(symbol);
        if (distance > text_length)
            fail("%s: a distance that reaches before the beginning", in_name);
        for (; length > 0; length--)
            emit(text[text_length - distance]);
    }
}

static void inflate(void)
{
    unsigned int last;

    do {
        last = take_bits(1);
        switch (take_bits(2)) {
        case 0:
            stored_block();
            break;
        case 1:
            fixed_codes();
            coded_block();
            break;
        case 2:
            own_codes();
            coded_block();
            break;
        default:
            fail("%s: a kind of block that does not exist", in_name);
        }
    } while (!last);
}

/* Members */

enum { HEADER_CRC = 2, EXTRA = 4, NAME = 8, COMMENT = 16, RESERVED = 0xe0 };

static unsigned int header_crc;

static unsigned int header_byte(void)
{
    unsigned char c;

    c = (unsigned char)byte();
    header_crc = crc32_of(header_crc, &c, 1);
    return c;
}

/* The header after its first byte; names, times and comments are left out. */
static void skip_header(void)
{
    unsigned int flags, n, i;

    if (header_byte() != 0x8b)
        fail("%s: this is not a gzip file", in_name);
    if (header_byte() != 8)
        fail("%s: a method of compression that does not exist", in_name);
    flags = header_byte();
    if (flags & RESERVED)
        fail("%s: a flag that does not exist", in_name);
    for (i = 0; i < 6; i++)
        header_byte();
    if (flags & EXTRA) {
        n = header_byte();
        n |= header_byte() << 8;
        for (; n > 0; n--)
            header_byte();
    }
    if (flags & NAME)
        while (header_byte() != 0)
            ;
    if (flags & COMMENT)
        while (header_byte() != 0)
            ;
    if (flags & HEADER_CRC) {
        n = header_crc & 0xffff;
        i = byte();
        i |= byte() << 8;
        if (i != n)
            fail("%s: the checksum of a header is wrong", in_name);
    }
}

static unsigned int four_bytes(void)
{
    unsigned int value, i;

    value = 0;
    for (i = 0; i < 4; i++)
        value |= take_bits(8) << (8 * i);
    return value;
}

static void member(void)
{
    unsigned int wanted;

    crc = 0;
    member_length = 0;
    text_length = text_written = 0;
    bits = 0;
    bit_count = 0;
    inflate();
    write_out();
    take_bits(bit_count % 8);
    wanted = four_bytes();
    if (wanted != crc)
        fail("%s: the checksum is %08x and must be %08x", in_name, crc, wanted);
    wanted = four_bytes();
    if (wanted != member_length)
        fail("%s: there are %u bytes and must be %u", in_name, member_length, wanted);
}

int main(int argc, char **argv)
{
    int c;
    unsigned char first;

    start("gunzip");
    if (argc != 3)
        usage("IN OUT");
    in_name = argv[1];
    out_name = argv[2];
    in = open_input(in_name);
    out = create(out_name);
    c = byte_or_end();
    do {
        if (c != 0x1f)
            fail("%s: this is not a gzip file", in_name);
        first = 0x1f;
        header_crc = crc32_of(0, &first, 1);
        skip_header();
        member();
        c = byte_or_end();
    } while (c != EOF);
    finish(out, out_name);
    return 0;
}

/* bunzip2 IN OUT  decompresses the bzip2 file IN; "-" is standard input or output.

   A stream is a header, blocks, and a checksum over their checksums; a file may
   have several streams. All checksums are verified, as is that nothing follows
   the last stream. A block was made in five steps, which are undone from the last
   to the first:

   1. runs of 4 to 259 equal bytes become 4 of them and a count
   2. the block is sorted: of all its rotations, in order, the last bytes are kept
      (Burrows and Wheeler), and where the block itself stands among them
   3. each byte becomes its place in a list, to whose front it then moves
   4. runs of zeros become numbers of two digits, RUN_A and RUN_B
   5. groups of 50 symbols are coded with one of up to six Huffman codes

   The randomised blocks of old versions are not supported. */
#include <string.h>
#include "tool.h"

enum {
    MAX_BLOCK = 900000,
    MAX_BITS = 20,
    MAX_SYMBOLS = 258,        /* RUN_A, RUN_B, 255 places, the end */
    MAX_CODES = 6,
    GROUP = 50,
    RUN_A = 0,
    RUN_B = 1
};

static const char *in_name;
static const char *out_name;
static FILE *in;
static FILE *out;

/* Input: bits from the high end of each byte */

static unsigned int bits;
static int bit_count;

static int byte_or_end(void)
{
    int c;

    c = getc(in);
    if (c == EOF && ferror(in))
        fail("%s: %s", in_name, reason());
    return c;
}

static unsigned int take_bits(int n)
{
    int c;

    while (bit_count < n) {
        c = byte_or_end();
        if (c == EOF)
            fail("%s: the file ends too early", in_name);
        bits = bits << 8 | (unsigned int)c;
        bit_count += 8;
    }
    bit_count -= n;
    return bits >> bit_count & ((1U << n) - 1);
}

static unsigned int take_32(void)
{
    unsigned int high;

    high = take_bits(16);
    return high << 16 | take_bits(16);
}

/* Output and its checksum: the polynomial of gzip with the bits in the other
   order */

static unsigned char text[65536];
static size_t text_length;
static unsigned int crc_table[256];
static unsigned int crc;

static void make_crc_table(void)
{
    unsigned int i, bit, value;

    for (i = 0; i < 256; i++) {
        value = i << 24;
        for (bit = 0; bit < 8; bit++)
            value = value >> 31 ? value << 1 ^ 0x04c11db7 : value << 1;
        crc_table[i] = value;
    }
}

static void write_out(void)
{
    write_bytes(out, out_name, text, text_length);
    text_length = 0;
}

static void emit(unsigned int c)
{
    crc = crc << 8 ^ crc_table[crc >> 24 ^ c];
    if (text_length == sizeof text)
        write_out();
    text[text_length++] = (unsigned char)c;
}

/* Step 5: Huffman codes. Words of one length are consecutive numbers in the order
   of their symbols. */

struct code {
    unsigned int count[MAX_BITS + 1];
    unsigned int symbol[MAX_SYMBOLS];
};

static struct code codes[MAX_CODES];
static unsigned char selector[32768];     /* the code of each group */
static unsigned int selector_count;
static unsigned int symbols_left;         /* in this group */
static unsigned int group;

static void make_code(struct code *code, const unsigned char *length, unsigned int symbols)
{
    unsigned int next[MAX_BITS + 1];
    unsigned int i, n, space;

    memset(code->count, 0, sizeof code->count);
    for (i = 0; i < symbols; i++)
        code->count[length[i]]++;
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
    for (i = 0; i < symbols; i++)
        code->symbol[next[length[i]]++] = i;
}

/* Each length is the one before, changed by one as often as is said. */
static void read_code(struct code *code, unsigned int symbols)
{
    unsigned char length[MAX_SYMBOLS];
    unsigned int i, n;

    n = take_bits(5);
    for (i = 0; i < symbols; i++) {
        for (;;) {
            if (n < 1 || n > MAX_BITS)
                fail("%s: a code word of %u bits", in_name, n);
            if (!take_bits(1))
                break;
            if (take_bits(1))
                n--;
            else
                n++;
        }
        length[i] = (unsigned char)n;
    }
    make_code(code, length, symbols);
}

/* Which code a group has is the place in a list, to whose front that code then
   moves, as so many 1s. */
static void read_selectors(unsigned int code_count)
{
    unsigned char order[MAX_CODES];
    unsigned char code;
    unsigned int i, place;

    for (i = 0; i < code_count; i++)
        order[i] = (unsigned char)i;
    for (i = 0; i < selector_count; i++) {
        for (place = 0; take_bits(1); place++)
            if (place + 1 >= code_count)
                fail("%s: a code that does not exist", in_name);
        code = order[place];
        memmove(order + 1, order, place);
        order[0] = code;
        selector[i] = code;
    }
}

static unsigned int next_symbol(void)
{
    const struct code *code;
    unsigned int word, before;
    int length;

    if (symbols_left == 0) {
        if (group == selector_count)
            fail("%s: a block has too few groups", in_name);
        group++;
        symbols_left = GROUP;
    }
    symbols_left--;
    code = &codes[selector[group - 1]];
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

/* Steps 4 and 3: the block as it was sorted */

static unsigned int *block;               /* a byte each; step 2 adds links */
static unsigned int block_length;
static unsigned int block_limit;

static void append(unsigned int byte, unsigned int times)
{
    if (times > block_limit - block_length)
        fail("%s: a block is too long", in_name);
    for (; times > 0; times--)
        block[block_length++] = byte;
}

/* The bytes that occur, as two steps of maps; returns how many they are. */
static unsigned int read_alphabet(unsigned char *alphabet)
{
    unsigned int rows, row, i, count;

    rows = take_bits(16);
    count = 0;
    for (i = 0; i < 16; i++)
        if (rows >> (15 - i) & 1) {
            unsigned int column;

            row = take_bits(16);
            for (column = 0; column < 16; column++)
                if (row >> (15 - column) & 1)
                    alphabet[count++] = (unsigned char)(i * 16 + column);
        }
    return count;
}

static void read_block(void)
{
    unsigned char alphabet[256];
    unsigned char byte;
    unsigned int count, code_count, symbol, run, digit, i;

    count = read_alphabet(alphabet);
    if (count == 0)
        fail("%s: a block without bytes", in_name);
    code_count = take_bits(3);
    if (code_count < 2 || code_count > MAX_CODES)
        fail("%s: a block with %u codes", in_name, code_count);
    selector_count = take_bits(15);
    if (selector_count == 0)
        fail("%s: a block without groups", in_name);
    read_selectors(code_count);
    for (i = 0; i < code_count; i++)
        read_code(&codes[i], count + 2);
    group = 0;
    symbols_left = 0;
    block_length = 0;
    for (;;) {
        symbol = next_symbol();
        run = 0;
        for (digit = 1; symbol == RUN_A || symbol == RUN_B; digit *= 2) {
            if (digit > MAX_BLOCK)
                fail("%s: a block is too long", in_name);
            run += symbol == RUN_A ? digit : 2 * digit;
            symbol = next_symbol();
        }
        append(alphabet[0], run);
        if (symbol == count + 1)
            return;
        byte = alphabet[symbol - 1];
        memmove(alphabet + 1, alphabet, symbol - 1);
        alphabet[0] = byte;
        append(byte, 1);
    }
}

/* Steps 2 and 1. The last bytes of the sorted rotations are known; their first
   bytes are the same in order. The n-th of all equal bytes at the end is the n-th
   of them at the beginning, since both are in the order of what follows. So a
   link from each first byte to its place as a last byte leads to the next
   rotation: the links are put above the bytes. */
static void emit_block(unsigned int origin)
{
    unsigned int first[256];
    unsigned int i, n, place, byte, before, equal;

    memset(first, 0, sizeof first);
    for (i = 0; i < block_length; i++)
        first[block[i] & 255]++;
    n = 0;
    for (i = 0; i < 256; i++) {
        place = first[i];
        first[i] = n;
        n += place;
    }
    for (i = 0; i < block_length; i++)
        block[first[block[i] & 255]++] |= i << 8;
    place = block[origin] >> 8;
    before = 256;
    equal = 0;
    for (i = 0; i < block_length; i++) {
        byte = block[place] & 255;
        place = block[place] >> 8;
        if (equal == 4) {     /* this is how often the byte follows */
            for (; byte > 0; byte--)
                emit(before);
            equal = 0;
            before = 256;
            continue;
        }
        equal = byte == before ? equal + 1 : 1;
        before = byte;
        emit(byte);
    }
}

/* Streams */

static void stream(void)
{
    unsigned int wanted, all, origin, high, low, level;

    if (take_bits(8) != 'Z' || take_bits(8) != 'h')
        fail("%s: this is not a bzip2 file", in_name);
    level = take_bits(8);
    if (level < '1' || level > '9')
        fail("%s: a block size that does not exist", in_name);
    block_limit = (level - '0') * 100000;
    all = 0;
    for (;;) {
        high = take_bits(24);
        low = take_bits(24);
        wanted = take_32();
        if (high == 0x177245 && low == 0x385090)      /* the root of pi */
            break;
        if (high != 0x314159 || low != 0x265359)      /* pi */
            fail("%s: neither a block nor the end", in_name);
        if (take_bits(1))
            fail("%s: randomised blocks are not supported", in_name);
        origin = take_bits(24);
        read_block();
        if (origin >= block_length)
            fail("%s: a block begins where it has no bytes", in_name);
        crc = 0xffffffff;
        emit_block(origin);
        crc = ~crc;
        if (crc != wanted)
            fail("%s: the checksum of a block is %08x and must be %08x", in_name, crc, wanted);
        all = (all << 1 | all >> 31) ^ crc;
    }
    if (wanted != all)
        fail("%s: the checksum is %08x and must be %08x", in_name, all, wanted);
    bit_count = 0;            /* the rest of the last byte means nothing */
}

int main(int argc, char **argv)
{
    int c;

    start("bunzip2");
    if (argc != 3)
        usage("IN OUT");
    in_name = argv[1];
    out_name = argv[2];
    in = open_input(in_name);
    out = create(out_name);
    make_crc_table();
    block = need(MAX_BLOCK * sizeof *block);
    c = byte_or_end();
    do {
        if (c != 'B')
            fail("%s: this is not a bzip2 file", in_name);
        stream();
        c = byte_or_end();
    } while (c != EOF);
    write_out();
    finish(out, out_name);
    return 0;
}

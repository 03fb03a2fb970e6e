/* malloc and its kin.

   A block is 16 bytes of header and its room, a multiple of 16 bytes. Rooms come
   in classes: 16, 32, 48, 64, then four steps from each power of two to the next,
   so that at most a fifth is wasted. A freed block goes to the list of its class
   and is given out again from there, last in first out; it is never split or
   joined. New blocks are cut from pieces of 1 MiB. Rooms over 128 KiB are
   mappings of their own, which realloc moves without copying. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "libc.h"

enum { SYS_MMAP = 9, SYS_MUNMAP = 11, SYS_MREMAP = 25 };
enum { PROT_READ_WRITE = 3, MAP_PRIVATE_ANONYMOUS = 0x22, MREMAP_MAYMOVE = 1 };

enum {
    HEADER = 16,
    PAGE = 4096,
    PIECE = 1 << 20,
    LARGEST_CLASS = 128 << 10,
    CLASS_COUNT = 48
};

/* The state catches what is freed twice or was never given out. */
enum { USED = 0x75736564, FREE = 0x66726565 };

struct block {
    size_t room;
    long state;
    struct block *next;   /* the room begins here; a link while it is free */
};

static struct block *free_blocks[CLASS_COUNT];
static char *piece;       /* what is left of the newest piece */
static size_t piece_left;

/* The class of a size, and the room of that class. */
static int class_of(size_t size, size_t *room)
{
    size_t step;
    size_t limit;
    int number;

    if (size <= 64) {
        number = size ? (int)((size - 1) / 16) : 0;
        *room = (size_t)(number + 1) * 16;
        return number;
    }
    number = 4;
    for (limit = 64; limit * 2 < size; limit *= 2)
        number += 4;
    step = limit / 4;
    number += (int)((size - limit - 1) / step);
    *room = limit + ((size - limit - 1) / step + 1) * step;
    return number;
}

static void *map(size_t size)
{
    long address;

    address = __result(__syscall(SYS_MMAP, 0, (long)size, PROT_READ_WRITE,
                                 MAP_PRIVATE_ANONYMOUS, -1, 0));
    if (address == -1)
        return NULL;
    return (void *)address;
}

/* Bytes of the mapping for a room of its own; 0 if there is no such number. */
static size_t mapping_size(size_t size)
{
    if (size > (size_t)1 << 46) {
        errno = ENOMEM;
        return 0;
    }
    return (size + HEADER + PAGE - 1) / PAGE * PAGE;
}

static void *give(struct block *block, size_t room)
{
    block->room = room;
    block->state = USED;
    return (char *)block + HEADER;
}

static struct block *block_of(void *memory)
{
    struct block *block;

    block = (struct block *)((char *)memory - HEADER);
    if (block->state != USED)
        __fatal("free or realloc of memory that is not in use");
    return block;
}

void *malloc(size_t size)
{
    struct block *block;
    size_t room;
    int number;

    if (size > LARGEST_CLASS) {
        room = mapping_size(size);
        if (room == 0)
            return NULL;
        block = map(room);
        if (!block)
            return NULL;
        return give(block, room - HEADER);
    }
    number = class_of(size, &room);
    block = free_blocks[number];
    if (block) {
        free_blocks[number] = block->next;
        return give(block, room);
    }
    if (piece_left < HEADER + room) {
        char *fresh;

        fresh = map(PIECE);
        if (!fresh)
            return NULL;
        piece = fresh;
        piece_left = PIECE;
    }
    block = (struct block *)piece;
    piece += HEADER + room;
    piece_left -= HEADER + room;
    return give(block, room);
}

void free(void *memory)
{
    struct block *block;
    size_t room;
    int number;

    if (!memory)
        return;
    block = block_of(memory);
    if (block->room > LARGEST_CLASS) {
        if (__syscall(SYS_MUNMAP, (long)block, (long)(block->room + HEADER), 0, 0, 0, 0) != 0)
            __fatal("free: munmap failed");
        return;
    }
    number = class_of(block->room, &room);
    block->state = FREE;
    block->next = free_blocks[number];
    free_blocks[number] = block;
}

void *calloc(size_t count, size_t size)
{
    void *memory;

    if (size && count > (size_t)-1 / size) {
        errno = ENOMEM;
        return NULL;
    }
    memory = malloc(count * size);
    if (memory)
        memset(memory, 0, count * size);
    return memory;
}

void *realloc(void *memory, size_t size)
{
    struct block *block;
    void *fresh;
    size_t room;
    long address;

    if (!memory)
        return malloc(size);
    block = block_of(memory);
    if (size <= block->room)
        return memory;
    if (block->room > LARGEST_CLASS) {
        room = mapping_size(size);
        if (room == 0)
            return NULL;
        address = __result(__syscall(SYS_MREMAP, (long)block, (long)(block->room + HEADER),
                                     (long)room, MREMAP_MAYMOVE, 0, 0));
        if (address == -1)
            return NULL;
        return give((struct block *)address, room - HEADER);
    }
    fresh = malloc(size);
    if (!fresh)
        return NULL;
    memcpy(fresh, memory, block->room);
    free(memory);
    return fresh;
}

/* malloc, calloc, realloc and free at random: every block is filled with its own
   byte and looked at before it changes; so two that overlap are found. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 500 };

static unsigned long state = 7;
static unsigned char *block[BLOCKS];
static size_t size[BLOCKS];

static unsigned long next(unsigned long n)
{
    state = state * 6364136223846793005UL + 1442695040888963407UL;
    return (state >> 33) % n;
}

static size_t new_size(void)
{
    switch (next(8)) {
    case 0:
        return next(3);
    case 1:
        return next(400000);
    case 2:
        return next(20000);
    default:
        return next(300);
    }
}

static void look(size_t i, size_t n, int byte)
{
    size_t k;

    for (k = 0; k < n; k++)
        if (block[i][k] != (unsigned char)byte) {
            printf("block %lu of %lu bytes has %d at %lu\n", (unsigned long)i,
                   (unsigned long)size[i], block[i][k], (unsigned long)k);
            exit(1);
        }
}

int main(void)
{
    long step;
    size_t i, n;

    for (step = 0; step < 8000; step++) {
        i = next(BLOCKS);
        look(i, size[i], (int)i);
        n = new_size();
        switch (next(4)) {
        case 0:
            free(block[i]);
            block[i] = malloc(n);
            break;
        case 1:
            free(block[i]);
            block[i] = calloc(n / 7 + 1, 7);
            n = (n / 7 + 1) * 7;
            look(i, n, 0);
            break;
        case 2:
            block[i] = realloc(block[i], n + 1);
            n++;
            look(i, n < size[i] ? n : size[i], (int)i);
            break;
        default:
            free(block[i]);
            block[i] = NULL;
            n = 0;
        }
        if (n > 0 && !block[i]) {
            printf("no memory\n");
            return 1;
        }
        if ((unsigned long)block[i] % 16 != 0) {
            printf("block is not at a multiple of 16\n");
            return 1;
        }
        size[i] = n;
        memset(block[i] ? (char *)block[i] : (char *)&step, block[i] ? (int)i : 0, block[i] ? n : 0);
    }
    errno = 0;
    n = (size_t)-1;
    block[0] = malloc(n);
    printf("%d %d\n", block[0] == NULL, errno);
    errno = 0;
    n /= 2;
    block[0] = calloc(n, 3);
    printf("%d %d\n", block[0] == NULL, errno);
    block[0] = realloc(block[0], 100);
    printf("%d\n", realloc(block[0], n + 1) == NULL);
    printf("well\n");
    return 0;
}

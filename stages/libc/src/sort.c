/* qsort by merging, so that equal items keep their order: then the result
   depends on the comparison alone and not on how the sort works. */
#include <stdlib.h>
#include <string.h>
#include "libc.h"

/* Sorts items; spare has room for as many. */
static void sort(char *items, char *spare, size_t count, size_t size,
                 int (*compare)(const void *, const void *))
{
    char *left;
    char *right;
    char *left_end;
    char *right_end;
    char *to;

    if (count < 2)
        return;
    left = items;
    left_end = items + count / 2 * size;
    right = left_end;
    right_end = items + count * size;
    sort(left, spare, count / 2, size, compare);
    sort(right, spare, count - count / 2, size, compare);
    for (to = spare; left < left_end; to += size) {
        if (right < right_end && compare(right, left) < 0) {
            memcpy(to, right, size);
            right += size;
        } else {
            memcpy(to, left, size);
            left += size;
        }
    }
    memcpy(items, spare, (size_t)(to - spare));
}

void qsort(void *items, size_t count, size_t size,
           int (*compare)(const void *, const void *))
{
    char *spare;

    if (count < 2 || size == 0)
        return;
    spare = malloc(count * size);
    if (!spare)
        __fatal("qsort: out of memory");
    sort(items, spare, count, size, compare);
    free(spare);
}

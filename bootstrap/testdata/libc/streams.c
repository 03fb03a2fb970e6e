/* Streams on a file: a random walk of reading, writing and seeking, with all
   results in print, and the same again with small and large pieces. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned long state = 3;
static char bytes[200000];

static unsigned int next(unsigned int n)
{
    state = state * 6364136223846793005UL + 1442695040888963407UL;
    return (unsigned int)(state >> 33) % n;
}

static unsigned long sum(const char *p, size_t n)
{
    unsigned long s;

    for (s = 5; n > 0; n--)
        s = s * 31 + (unsigned char)*p++;
    return s;
}

static void walk(const char *mode, unsigned int piece)
{
    FILE *f;
    int step, what, reading;
    size_t n, i;
    char line[50];

    f = fopen("walk", mode);
    if (!f) {
        printf("%s: no file\n", mode);
        return;
    }
    reading = -1;             /* between reading and writing there must be a seek */
    for (step = 0; step < 3000; step++) {
        what = (int)next(12);
        n = next(piece);
        printf("%s %d %d:", mode, step, what);
        switch (what) {
        case 0:
            printf(" %d", fseek(f, (long)next(4 * piece), SEEK_SET));
            reading = -1;
            break;
        case 1:
            printf(" %d", fseek(f, -(long)next(piece), SEEK_END));
            reading = -1;
            break;
        case 2:
            printf(" %d", fseek(f, (long)next(piece) - (long)piece / 2, SEEK_CUR));
            reading = -1;
            break;
        case 3:
        case 4:
        case 5:
            if (reading == 1)
                break;
            reading = 0;
            for (i = 0; i < n; i++)
                bytes[i] = (char)(next(200) ? 'a' + next(26) : '\n');
            printf(" wrote %lu", (unsigned long)fwrite(bytes, 1, n, f));
            break;
        case 6:
        case 7:
            if (reading == 0)
                break;
            reading = 1;
            n = fread(bytes, 3, n / 3, f);
            printf(" read %lu %lx", (unsigned long)n, sum(bytes, n * 3));
            break;
        case 8:
            if (reading == 0)
                break;
            reading = 1;
            if (fgets(line, sizeof line, f))
                printf(" line [%s]", line);
            break;
        case 9:
            if (reading == 0)
                break;
            reading = 1;
            i = (size_t)fgetc(f);
            printf(" byte %d", (int)i);
            if (next(2) && (int)i != EOF) {
                printf(" back %d", ungetc((int)i, f));
                printf(" byte %d", getc(f));
            }
            break;
        case 10:
            if (reading == 1)
                break;
            reading = 0;
            printf(" put %d", fputc('x', f));
            printf(" %d", fputs("some text\n", f) >= 0);
            fprintf(f, "%d %s\n", step, "formatted");
            break;
        case 11:
            printf(" at %ld", ftell(f));
            if (reading == 0)
                printf(" %d", fflush(f));
            break;
        }
        printf(" %d %d\n", !!feof(f), !!ferror(f));
        clearerr(f);
    }
    printf("closed %d\n", fclose(f));
}

int main(void)
{
    FILE *f;
    int fd, c;
    char block[100];

    walk("w+", 100);
    walk("r+b", 3000);
    walk("r+", 100000);
    printf("%d\n", fopen("none", "r") == NULL);
    printf("%d\n", fopen("no/such/folder", "w") == NULL);
    printf("%d\n", fopen("walk", "q") == NULL);

    f = fopen("walk", "w");
    fputs("first\n", f);
    printf("%d\n", fread(block, 1, 5, f) == 0);
    printf("%d\n", !!ferror(f));
    fclose(f);
    f = fopen("walk", "a");
    fputs("second\n", f);
    fclose(f);
    fd = open("walk", O_RDWR);
    printf("%ld\n", (long)lseek(fd, 2, SEEK_SET));
    printf("%ld\n", (long)read(fd, block, 3));
    f = fdopen(fd, "r");
    while ((c = getc(f)) != EOF)
        putchar(c);
    fclose(f);
    printf("%d\n", rename("walk", "walked"));
    printf("%d\n", rename("walk", "walked"));
    printf("%d\n", remove("walked"));
    printf("%d\n", remove("walked"));
    puts("stdin:");
    while ((c = getchar()) != EOF)
        putchar(c);
    fprintf(stderr, "to %s\n", "stderr");
    return 0;
}

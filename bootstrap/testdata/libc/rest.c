/* What is left: sorting, the calendar, jumps, exit functions, the environment,
   folders, sscanf. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct item {
    int key;
    int place;
    char more[5];
};

static struct item items[5000];
static unsigned long state = 5;

static unsigned int next(unsigned int n)
{
    state = state * 6364136223846793005UL + 1442695040888963407UL;
    return (unsigned int)(state >> 33) % n;
}

static int by_key(const void *a, const void *b)
{
    return ((const struct item *)a)->key - ((const struct item *)b)->key;
}

static int by_byte(const void *a, const void *b)
{
    return *(const unsigned char *)a - *(const unsigned char *)b;
}

static void sorting(void)
{
    int i, n, round;
    char text[100];

    for (round = 0; round < 300; round++) {
        n = (int)next(round < 250 ? 20 : 5000);
        for (i = 0; i < n; i++) {
            items[i].key = (int)next(round % 2 ? 10 : 100000);
            items[i].place = i;
        }
        qsort(items, (size_t)n, sizeof items[0], by_key);
        printf("%d:", n);
        for (i = 0; i < n; i++)
            printf(" %d/%d", items[i].key, items[i].place);
        n = (int)next(99);
        for (i = 0; i < n; i++)
            text[i] = (char)('a' + next(26));
        text[n] = 0;
        qsort(text, (size_t)n, 1, by_byte);
        printf(" %s\n", text);
    }
}

static void show_time(time_t t)
{
    struct tm *tm;

    tm = gmtime(&t);
    printf("%ld: %d-%d-%d %d:%d:%d %d %d\n", (long)t, tm->tm_year, tm->tm_mon, tm->tm_mday,
           tm->tm_hour, tm->tm_min, tm->tm_sec, tm->tm_wday, tm->tm_yday);
}

static void calendar(void)
{
    int i;

    for (i = 0; i < 3000; i++)
        show_time((time_t)i * 86400 * 31 - 1500 * 365 * 86400L);
    for (i = 0; i < 800; i++)
        show_time((time_t)i * 86400 + 1700000000);
    for (i = 0; i < 5000; i++)
        show_time((time_t)next(4000000) * 100003 - 100000000000L);
}

static jmp_buf jump;

static void deeper(int depth, int value)
{
    if (depth > 0)
        deeper(depth - 1, value);
    else
        longjmp(jump, value);
    printf("not here\n");
}

static void jumps(void)
{
    volatile int round;
    int got;

    round = 0;
    got = setjmp(jump);
    printf("round %d: %d\n", round, got);
    round++;
    if (round < 5)
        deeper(round, round == 3 ? 0 : round * 10);
}

static void last(void)
{
    printf("last\n");
}

static void before(void)
{
    printf("before\n");
}

static void scanning(void)
{
    int a, b, c, n;
    long d;

    a = b = c = 0;
    d = 0;
    n = sscanf("0.9.27", "%d.%d.%d", &a, &b, &c);
    printf("%d %d %d %d\n", n, a, b, c);
    n = sscanf("12 x", " %d,%d", &a, &b);
    printf("%d %d\n", n, a);
    n = sscanf("", "%d", &a);
    printf("%d\n", n);
    n = sscanf(" -7  ff", "%ld %x", &d, &a);
    printf("%d %ld %d\n", n, d, a);
    n = sscanf("x", "%d", &a);
    printf("%d\n", n);
}

/* One a line: in which order the arguments of one call come about is not said. */
static void show(int value)
{
    printf("%d\n", value);
}

static void folders(void)
{
    char path[500], name[500];
    int status;
    pid_t child;
    char *arguments[3];

    show(mkdir("folder", 0755));
    show(mkdir("folder", 0755));
    show(errno == EEXIST);
    show(chdir("folder"));
    show(chdir("none"));
    show(getcwd(path, sizeof path) != NULL && strcmp(strrchr(path, '/'), "/folder") == 0);
    show(getcwd(path, 3) == NULL);
    show(errno == ERANGE);
    show(chdir(".."));
    show(close(open("folder/file", O_WRONLY | O_CREAT | O_EXCL, 0600)));
    show(open("folder/file", O_WRONLY | O_CREAT | O_EXCL, 0600));
    show(rmdir("folder"));
    show(errno == ENOTEMPTY);
    show(symlink("folder/file", "to-file"));
    show(link("folder/file", "again"));
    show(chmod("again", 0400));
    show(unlink("to-file"));
    show(unlink("again"));
    show(unlink("folder/file"));
    show(remove("folder"));
    show(close(77));
    show(errno == EBADF);

    strcpy(name, "none");
    arguments[0] = name;
    arguments[1] = NULL;
    fflush(stdout);
    child = fork();
    if (child == 0) {
        execve("/none", arguments, environ);
        _exit(errno == ENOENT ? 42 : 1);
    }
    printf("%d\n", waitpid(child, &status, 0) == child);
    printf("%d %d\n", WIFEXITED(status), WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
    int i;
    struct timeval now;

    for (i = 1; i < argc; i++)
        printf("[%s]\n", argv[i]);
    printf("%s %s\n", getenv("SOME") ? getenv("SOME") : "none", getenv("SOM") ? "there" : "none");
    sorting();
    calendar();
    jumps();
    scanning();
    folders();
    printf("%d\n", gettimeofday(&now, NULL));
    printf("%d %d %ld\n", abs(-3), abs(3), labs(-5000000000L));
    atexit(last);
    atexit(before);
    exit(3);
}

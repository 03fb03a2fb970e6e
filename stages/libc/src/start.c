/* From the kernel to main, and out again. */
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <assert.h>
#include <setjmp.h>
#include <signal.h>
#include <unistd.h>
#include "libc.h"

enum { SYS_GETPID = 39, SYS_KILL = 62, SYS_EXIT_GROUP = 231 };

/* It may have two parameters, or the environment as a third, or none. */
int main();

char **environ;

/* stack: argc, argv[0] ... argv[argc - 1], 0, the environment, 0 */
void __libc_start(long *stack)
{
    int argc;
    char **argv;

    argc = (int)stack[0];
    argv = (char **)(stack + 1);
    environ = argv + argc + 1;
    exit(main(argc, argv, environ));
}

enum { MAX_EXIT_FUNCTIONS = 32 };

static void (*exit_functions[MAX_EXIT_FUNCTIONS])(void);
static int exit_function_count;

int atexit(void (*function)(void))
{
    if (exit_function_count == MAX_EXIT_FUNCTIONS)
        return -1;
    exit_functions[exit_function_count++] = function;
    return 0;
}

/* A program that lost output does not end with success, whether or not it
   looked at the results of its calls. */
void exit(int status)
{
    while (exit_function_count > 0)
        exit_functions[--exit_function_count]();
    if (__flush_all() && status == 0) {
        static const char message[] = "output could not be written\n";
        write(STDERR_FILENO, message, sizeof message - 1);
        status = 1;
    }
    _exit(status);
}

void _exit(int status)
{
    for (;;)
        __syscall(SYS_EXIT_GROUP, status, 0, 0, 0, 0, 0);
}

void _Exit(int status)
{
    _exit(status);
}

void abort(void)
{
    long pid;

    pid = __syscall(SYS_GETPID, 0, 0, 0, 0, 0, 0);
    __syscall(SYS_KILL, pid, SIGABRT, 0, 0, 0, 0);
    _exit(127);
}

void __longjmp(void *registers, int value);

/* setjmp returns 0 the first time only. */
void longjmp(jmp_buf registers, int value)
{
    __longjmp(registers, value ? value : 1);
}

void __fatal(const char *message)
{
    __flush_all();
    write(STDERR_FILENO, "libc: ", 6);
    write(STDERR_FILENO, message, strlen(message));
    write(STDERR_FILENO, "\n", 1);
    _exit(127);
}

void __assert_failed(const char *condition, const char *file, int line)
{
    __flush_all();
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}

char *getenv(const char *name)
{
    size_t n;
    char **entry;

    n = strlen(name);
    if (n == 0 || !environ)
        return NULL;
    for (entry = environ; *entry; entry++)
        if (strncmp(*entry, name, n) == 0 && (*entry)[n] == '=')
            return *entry + n + 1;
    return NULL;
}

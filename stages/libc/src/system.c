/* System calls that are C functions almost as they are, and functions that a
   single-threaded program without signal handlers needs in name only. */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "libc.h"

enum {
    SYS_READ = 0,
    SYS_WRITE = 1,
    SYS_OPEN = 2,
    SYS_CLOSE = 3,
    SYS_STAT = 4,
    SYS_FSTAT = 5,
    SYS_LSEEK = 8,
    SYS_MPROTECT = 10,
    SYS_FORK = 57,
    SYS_EXECVE = 59,
    SYS_WAIT4 = 61,
    SYS_GETCWD = 79,
    SYS_CHDIR = 80,
    SYS_RENAME = 82,
    SYS_MKDIR = 83,
    SYS_RMDIR = 84,
    SYS_LINK = 86,
    SYS_UNLINK = 87,
    SYS_SYMLINK = 88,
    SYS_CHMOD = 90,
    SYS_FCHMOD = 91,
    SYS_UMASK = 95
};

int errno;

long __result(long answer)
{
    if (answer >= 0 || answer < -4095)
        return answer;
    errno = (int)-answer;
    return -1;
}

static long call1(long number, long a)
{
    return __result(__syscall(number, a, 0, 0, 0, 0, 0));
}

static long call2(long number, long a, long b)
{
    return __result(__syscall(number, a, b, 0, 0, 0, 0));
}

static long call3(long number, long a, long b, long c)
{
    return __result(__syscall(number, a, b, c, 0, 0, 0));
}

/* Files */

int open(const char *path, int flags, ...)
{
    va_list rest;
    int mode;

    mode = 0;
    if (flags & O_CREAT) {
        va_start(rest, flags);
        mode = va_arg(rest, int);
        va_end(rest);
    }
    return (int)call3(SYS_OPEN, (long)path, flags, mode);
}

ssize_t read(int fd, void *buffer, size_t n)
{
    return call3(SYS_READ, fd, (long)buffer, (long)n);
}

ssize_t write(int fd, const void *buffer, size_t n)
{
    return call3(SYS_WRITE, fd, (long)buffer, (long)n);
}

int close(int fd)
{
    return (int)call1(SYS_CLOSE, fd);
}

long lseek(int fd, long offset, int whence)
{
    return call3(SYS_LSEEK, fd, offset, whence);
}

int stat(const char *path, struct stat *result)
{
    return (int)call2(SYS_STAT, (long)path, (long)result);
}

int fstat(int fd, struct stat *result)
{
    return (int)call2(SYS_FSTAT, fd, (long)result);
}

int unlink(const char *path)
{
    return (int)call1(SYS_UNLINK, (long)path);
}

int rmdir(const char *path)
{
    return (int)call1(SYS_RMDIR, (long)path);
}

int remove(const char *path)
{
    if (unlink(path) == 0)
        return 0;
    if (errno != EISDIR)
        return -1;
    return rmdir(path);
}

int rename(const char *from, const char *to)
{
    return (int)call2(SYS_RENAME, (long)from, (long)to);
}

int link(const char *from, const char *to)
{
    return (int)call2(SYS_LINK, (long)from, (long)to);
}

int symlink(const char *target, const char *path)
{
    return (int)call2(SYS_SYMLINK, (long)target, (long)path);
}

int mkdir(const char *path, mode_t mode)
{
    return (int)call2(SYS_MKDIR, (long)path, mode);
}

int chmod(const char *path, mode_t mode)
{
    return (int)call2(SYS_CHMOD, (long)path, mode);
}

int fchmod(int fd, mode_t mode)
{
    return (int)call2(SYS_FCHMOD, fd, mode);
}

mode_t umask(mode_t mask)
{
    return (mode_t)call1(SYS_UMASK, mask);
}

int chdir(const char *path)
{
    return (int)call1(SYS_CHDIR, (long)path);
}

char *getcwd(char *path, size_t size)
{
    if (call2(SYS_GETCWD, (long)path, (long)size) < 0)
        return NULL;
    return path;
}

/* Processes */

pid_t fork(void)
{
    return (pid_t)call1(SYS_FORK, 0);
}

int execve(const char *path, char **arguments, char **environment)
{
    return (int)call3(SYS_EXECVE, (long)path, (long)arguments, (long)environment);
}

/* There is no search along PATH: a program of the chain names its file. */
int execvp(const char *file, char *const *arguments)
{
    if (!strchr(file, '/')) {
        errno = ENOENT;
        return -1;
    }
    return execve(file, (char **)arguments, environ);
}

pid_t waitpid(pid_t pid, int *status, int options)
{
    return (pid_t)__result(
        __syscall(SYS_WAIT4, pid, (long)status, options, 0, 0, 0));
}

int mprotect(void *start, size_t size, int access)
{
    return (int)call3(SYS_MPROTECT, (long)start, (long)size, access);
}

/* In name only */

int sigemptyset(sigset_t *set)
{
    set->signals = 0;
    return 0;
}

int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    (void)number;
    (void)action;
    (void)old;
    errno = ENOSYS;
    return -1;
}

int sem_init(sem_t *semaphore, int shared, unsigned int count)
{
    (void)shared;
    semaphore->count = count;
    return 0;
}

int sem_wait(sem_t *semaphore)
{
    if (semaphore->count == 0)
        __fatal("sem_wait: nobody is there who could post");
    semaphore->count--;
    return 0;
}

int sem_post(sem_t *semaphore)
{
    semaphore->count++;
    return 0;
}

#ifndef _UNISTD_H
#define _UNISTD_H

#include <stddef.h>
#include <sys/types.h>

#define STDIN_FILENO 0
#define STDOUT_FILENO 1
#define STDERR_FILENO 2

#define SEEK_SET 0
#define SEEK_CUR 1
#define SEEK_END 2

extern char **environ;

ssize_t read(int fd, void *buffer, size_t n);
ssize_t write(int fd, const void *buffer, size_t n);
int close(int fd);
long lseek(int fd, long offset, int whence);
int unlink(const char *path);
int rmdir(const char *path);
int symlink(const char *target, const char *path);
int link(const char *from, const char *to);
int chdir(const char *path);
char *getcwd(char *path, size_t size);
pid_t fork(void);
int execve(const char *path, char **arguments, char **environment);
int execvp(const char *file, char *const *arguments);
void _exit(int status);

#endif

#ifndef _SYS_STAT_H
#define _SYS_STAT_H

#include <sys/types.h>

#define S_IFMT 0170000
#define S_IFDIR 0040000
#define S_IFREG 0100000
#define S_ISDIR(mode) (((mode) & S_IFMT) == S_IFDIR)
#define S_ISREG(mode) (((mode) & S_IFMT) == S_IFREG)

/* As the kernel fills it in. */
struct stat {
    unsigned long st_dev;
    unsigned long st_ino;
    unsigned long st_nlink;
    mode_t st_mode;
    unsigned int st_uid;
    unsigned int st_gid;
    unsigned int __unused;
    unsigned long st_rdev;
    off_t st_size;
    long st_blksize;
    long st_blocks;
    unsigned long __times[9];
};

int stat(const char *path, struct stat *result);
int fstat(int fd, struct stat *result);
int mkdir(const char *path, mode_t mode);
int chmod(const char *path, mode_t mode);
int fchmod(int fd, mode_t mode);
mode_t umask(mode_t mask);

#endif

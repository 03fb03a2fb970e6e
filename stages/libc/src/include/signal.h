/* No handler can be installed: sigaction always fails with ENOSYS. What is
   here lets tcc's handler for its -run compile. */
#ifndef _SIGNAL_H
#define _SIGNAL_H

#include <stddef.h>

#define SIGINT 2
#define SIGILL 4
#define SIGABRT 6
#define SIGBUS 7
#define SIGFPE 8
#define SIGKILL 9
#define SIGSEGV 11
#define SIGPIPE 13
#define SIGTERM 15

#define SA_SIGINFO 0x00000004
#define SA_RESETHAND 0x80000000

#define FPE_INTDIV 1
#define FPE_FLTDIV 3

typedef struct {
    unsigned long signals;
} sigset_t;

typedef struct {
    int si_signo;
    int si_errno;
    int si_code;
} siginfo_t;

typedef struct {
    void *ss_sp;
    int ss_flags;
    size_t ss_size;
} stack_t;

struct sigaction {
    void (*sa_sigaction)(int, siginfo_t *, void *);
    sigset_t sa_mask;
    int sa_flags;
};

int sigaction(int number, const struct sigaction *action, struct sigaction *old);
int sigemptyset(sigset_t *set);

#endif

/* The registers as the kernel hands them to a signal handler, up to those that
   tcc names. */
#ifndef _SYS_UCONTEXT_H
#define _SYS_UCONTEXT_H

#include <signal.h>

#define REG_RBP 10
#define REG_RSP 15
#define REG_RIP 16

typedef struct {
    long gregs[23];
} mcontext_t;

typedef struct ucontext {
    unsigned long uc_flags;
    struct ucontext *uc_link;
    stack_t uc_stack;
    mcontext_t uc_mcontext;
} ucontext_t;

#endif

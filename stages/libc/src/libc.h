/* The chain's C library: what tcc and the tools need, and no more.

   The same text is compiled by three compilers: ccb (compiler B, which defines
   __CCB__), tcc and, for tests, gcc. It is C89 and "long long", for x86-64 Linux
   and one thread. Where the compilers differ is in three places:

     - calls: tcc and gcc follow the System V convention, ccb has its own. So the
       objects of one can not be linked with those of the other, and each builds the
       library for itself.
     - what C can not say is in amd64.s and crt1.s; ccb has that built in.
     - include/stdarg.h

   Files, in the order in which to read them:

     start.c    from the kernel to main, and the ways out
     system.c   system calls
     memory.c   malloc
     string.c ctype.c sort.c
     stdio.c    streams
     number.c   integers from text
     float.c    floating point from text and to text, exactly
     printf.c   formats
     time.c     a clock that stands still

   What a program prints depends on its input alone: there is no locale, no time,
   and addresses are used for nothing but to find things. A mistake that would go
   wrong silently in other libraries ends the program with a message: see __fatal. */
#ifndef _LIBC_H
#define _LIBC_H

#include <stddef.h>
#include <stdio.h>

/* A system call of Linux with up to six arguments; the result is negated errno
   if it failed. Built into ccb; in amd64.s for tcc and gcc. */
long __syscall(long number, long a, long b, long c, long d, long e, long f);

/* __result turns the kernel's answer into that of a C function: errno and -1. */
long __result(long answer);

/* __fatal ends the program with a message and status 127: for misuse of the
   library that would otherwise go wrong silently. */
void __fatal(const char *message);

/* __flush_all writes what is still in buffers; it says whether output of this
   process was lost, now or before. */
int __flush_all(void);

/* __hold has a stream collect what is written until __let_go, which gets the
   result of __hold and passes it on. */
int __hold(FILE *stream);
int __let_go(FILE *stream, int held);

/* A finite number other than zero in decimal: 0.d1 d2 d3... times ten to
   the power of `point`, with d1 not 0. */
struct __decimal {
    char *digits;
    int count;
    int point;
};

/* __exact gives all digits of mantissa times two to the power of exponent. They
   stay valid until the next call. */
void __exact(struct __decimal *decimal, unsigned long mantissa, int exponent);

/* __round keeps the first n digits, rounded to nearest, ties to even. */
void __round(struct __decimal *decimal, long n);

/* A floating-point number taken apart: mantissa times two to the power of
   exponent if it is finite. */
enum { FINITE, INFINITE, NOT_A_NUMBER };

struct __parts {
    int kind;
    int negative;
    unsigned long mantissa;
    int exponent;
};

void __parts_of_double(struct __parts *parts, double x);
void __parts_of_long_double(struct __parts *parts, long double x);

#endif

// Compiler B for compiler B: the sources as one text, the system call and the
// start of the program in terms of what B has built in.

#include "../base.c"
#include "../numbers.c"
#include "../names.c"
#include "../lexer.c"
#include "../preprocessor.c"
#include "../types.c"
#include "../symbols.c"
#include "../code.c"
#include "../trees.c"
#include "../expressions.c"
#include "../generate.c"
#include "../initialisers.c"
#include "../declarations.c"
#include "../statements.c"
#include "../elf.c"
#include "../main.c"

long __syscall(long number, long a, long b, long c, long d, long e, long f);

long sys3(long number, long a, long b, long c)
{
  return __syscall(number, a, b, c, 0, 0, 0);
}

void __libc_start(long *stack)
{
  sys3(SYS_EXIT, start(stack[0], (char **)(stack + 1)), 0, 0);
}

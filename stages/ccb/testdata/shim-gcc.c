// Lets gcc build compiler B for tests: the sources as one text, a main that calls
// start, and the system call that compiler A has built in. Not part of the chain.

#include "../src/base.c"
#include "../src/numbers.c"
#include "../src/names.c"
#include "../src/lexer.c"
#include "../src/preprocessor.c"
#include "../src/types.c"
#include "../src/symbols.c"
#include "../src/code.c"
#include "../src/trees.c"
#include "../src/expressions.c"
#include "../src/generate.c"
#include "../src/initialisers.c"
#include "../src/declarations.c"
#include "../src/statements.c"
#include "../src/elf.c"
#include "../src/main.c"

long sys3(long number, long a, long b, long c)
{
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

int main(int argc, char **argv)
{
  return (int)start(argc, argv);
}

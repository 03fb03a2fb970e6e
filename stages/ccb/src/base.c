// ccb: compiler B, from C to a static ELF executable for amd64 Linux.
//
//   ccb -o OUT [-t] [-I DIR]... [-D NAME[=VALUE]]... FILE.c...
//
// Each FILE is preprocessed and compiled as a translation unit of its own; all
// of them together become the one program OUT (mode 0755). There are no object
// files, no assembler and no linker, and nothing is optimised: what is compiled
// here is the compiler that then compiles itself better. The output depends on
// the texts and the arguments alone. Any fault is told as "FILE:LINE: reason" on
// the standard error, the status is 1, and OUT is then not touched. With -t, each
// function first calls __trace(char *name) of the program: the first difference
// between two traces names the function in which two builds part.
//
// What it accepts
//
//   C89, with // comments, long long, declarations between statements and in the
//   head of a for, anonymous struct and union members, variadic macros, inline.
//   Integers of 8, 16, 32 and 64 bits, char is signed; float, double, long double
//   of 80 bits in 16 bytes; bit-fields; structs by value. Qualifiers, register,
//   inline and restrict are read and mean nothing, and so are those attributes
//   that change nothing about the program; others are errors.
//   Not accepted: designated initialisers, compound literals, arrays of variable
//   length, _Bool, _Complex, definitions in the style of K&R, calls of functions
//   that are not declared, asm.
//   In constant initialisers, floating numbers may be converted and negated only.
//   <x> is looked for in the -I directories in order; "x" beside the including
//   file first. Predefined: __CCB__, __STDC__, __x86_64__, __linux__, __LINE__,
//   __FILE__.
//
// What it is written in
//
//   A subset of C with long, char, pointers, structs of longs and pointers, and
//   no preprocessor (see the head of compiler A). The files of this directory
//   are read as one text, in this order:
//     base.c            memory, text, errors, files
//     numbers.c         arithmetic of 64 bits without sign; floating constants
//     names.c           every name once; what a name means
//     lexer.c           characters to tokens
//     preprocessor.c    directives and macros
//     types.c           types, structs, bit-fields
//     symbols.c         scopes, objects of the program
//     code.c            machine code and data, byte by byte
//     trees.c           expressions as trees, conversions, constant folding
//     expressions.c     the grammar of expressions
//     generate.c        trees to machine code
//     initialisers.c    initial values
//     declarations.c    declarations, functions' heads
//     statements.c      statements, functions' bodies
//     elf.c             addresses, references, the file
//     main.c            the command line
//
// The program that comes out
//
//   0x400000   ELF header, two program headers, then all code        (R X)
//   next page  data: initialised objects and strings                 (RW)
//   behind it  objects without initial values, not in the file       (RW)
//
// Calling convention of the code that comes out (all code comes from here, so it
// is free): a value is in rax, extended to 64 bits by its type; a float or double
// is in rax too, as its bits; of a struct or long double, rax has the address.
// Arguments are pushed from right to left in slots of 8 bytes, so the first is
// lowest; a struct or long double takes as many slots as it needs, its first word
// lowest; the caller pops. A float goes as a float where the prototype says so,
// else as a double. A function that gives a struct or long double gets the address
// for it as a hidden first argument. Only rbp and rsp are kept by a call. Arguments
// are at [rbp+16], [rbp+24], ...; so <stdarg.h> is written in C, stepping from the
// last named argument by the size of each, rounded up to 8.
// Built in, if declared and used: __syscall, __setjmp, __longjmp. The program
// starts with a call of __libc_start(long *stack), which must not return; stack
// is the address of argc as the kernel gives it.

long sys3(long number, long a, long b, long c);

enum { SYS_READ = 0, SYS_WRITE = 1, SYS_OPEN = 2, SYS_CLOSE = 3, SYS_EXIT = 60, SYS_FCHMOD = 91 };

// Memory: handed out once, never given back, zero at first

enum { HEAP_SIZE = 268435456 };
char heap[HEAP_SIZE];
long heap_used;

// Where an error is reported: the token or line that is being looked at

char *here_file;
long here_line;

long length_of(char *text)
{
  long n = 0;
  while (text[n])
    n = n + 1;
  return n;
}

void print(char *text)
{
  sys3(SYS_WRITE, 2, (long)text, length_of(text));
}

void print_number(long value)
{
  char digits[24];
  long at = 23;
  digits[at] = 0;
  if (value <= 0) {
    at = at - 1;
    digits[at] = '0';
  }
  while (value > 0) {
    at = at - 1;
    digits[at] = (char)('0' + value % 10);
    value = value / 10;
  }
  print(&digits[at]);
}

// fail_name ends the run with "FILE:LINE: reason: name"; fail has no name to tell.
void fail_name(char *reason, char *name)
{
  if (here_file) {
    print(here_file);
    print(":");
    print_number(here_line);
    print(": ");
  } else {
    print("ccb: ");
  }
  print(reason);
  if (name) {
    print(": ");
    print(name);
  }
  print("\n");
  sys3(SYS_EXIT, 1, 0, 0);
}

void fail(char *reason)
{
  fail_name(reason, 0);
}

// What nests in the source nests in calls here, so the depth has a limit: without
// one, a source could exceed the stack.

enum { NESTING_LIMIT = 2000 };
long nesting;

void deeper(void)
{
  nesting = nesting + 1;
  if (nesting > NESTING_LIMIT)
    fail("nested too deeply");
}

void shallower(void)
{
  nesting = nesting - 1;
}

char *allocate(long size)
{
  if (size < 0 || size > HEAP_SIZE - heap_used - 8)
    fail("out of memory");
  char *p = &heap[heap_used];
  heap_used = (heap_used + size + 7) & ~7;
  return p;
}

void copy_bytes(char *to, char *from, long n)
{
  long i = 0;
  while (i < n) {
    to[i] = from[i];
    i = i + 1;
  }
}

long same_bytes(char *a, char *b, long n)
{
  long i = 0;
  while (i < n) {
    if (a[i] != b[i])
      return 0;
    i = i + 1;
  }
  return 1;
}

long same_text(char *a, char *b)
{
  long n = length_of(a);
  return n == length_of(b) && same_bytes(a, b, n);
}

// text_of copies n bytes to memory of their own, with a NUL behind.
char *text_of(char *from, long n)
{
  char *p = allocate(n + 1);
  copy_bytes(p, from, n);
  p[n] = 0;
  return p;
}

// join3 gives the text a, b, c in one.
char *join3(char *a, char *b, char *c)
{
  long la = length_of(a);
  long lb = length_of(b);
  long lc = length_of(c);
  char *p = allocate(la + lb + lc + 1);
  copy_bytes(p, a, la);
  copy_bytes(p + la, b, lb);
  copy_bytes(p + la + lb, c, lc);
  p[la + lb + lc] = 0;
  return p;
}

long align_up(long value, long alignment)
{
  return (value + alignment - 1) / alignment * alignment;
}

// Files

enum { READ_SIZE = 65536, FILE_LIMIT = 33554432, NO_ENTRY = -2, NO_DIRECTORY = -20 };

long file_length;               // of what read_file read

// read_file gives the bytes of a file with a NUL behind them, or 0 if there is
// no such file. Every other failure ends the run.
char *read_file(char *path)
{
  long file = sys3(SYS_OPEN, (long)path, 0, 0);
  if (file == NO_ENTRY || file == NO_DIRECTORY)
    return 0;
  if (file < 0)
    fail_name("can not open", path);
  // The bytes grow at the end of the heap, where nothing else grows meanwhile.
  char *text = &heap[heap_used];
  long n = 0;
  while (1) {
    if (n > FILE_LIMIT || HEAP_SIZE - heap_used - n < READ_SIZE + 16)
      fail_name("file too large", path);
    long got = sys3(SYS_READ, file, (long)(text + n), READ_SIZE);
    if (got < 0)
      fail_name("can not read", path);
    if (got == 0)
      break;
    n = n + got;
  }
  sys3(SYS_CLOSE, file, 0, 0);
  text[n] = 0;
  file_length = n;
  return allocate(n + 1);
}

void write_all(long file, char *bytes, long n, char *path)
{
  while (n > 0) {
    long put = sys3(SYS_WRITE, file, (long)bytes, n);
    if (put <= 0)
      fail_name("can not write", path);
    bytes = bytes + put;
    n = n - put;
  }
}

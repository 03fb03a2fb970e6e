/* What must survive differs with the compiler: ccb has both functions built
   in, for tcc and gcc they are in amd64.s. They are macros, since a function
   around them would have returned before the jump comes. */
#ifndef _SETJMP_H
#define _SETJMP_H

typedef long jmp_buf[8];

int __setjmp(void *registers);

#define setjmp(registers) __setjmp(registers)

void longjmp(jmp_buf registers, int value);

#endif

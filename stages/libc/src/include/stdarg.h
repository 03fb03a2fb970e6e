/* Under ccb all arguments lie on the stack, each in as many steps of 8 bytes as it
   needs, so that a pointer is enough. tcc and gcc know the System V layout
   themselves. */
#ifndef _STDARG_H
#define _STDARG_H

#ifdef __CCB__
typedef char *va_list;
#define __va_steps(type) ((sizeof(type) + 7) / 8 * 8)
#define va_start(list, last) ((list) = (char *)&(last) + __va_steps(last))
#define va_arg(list, type) (*(type *)(((list) += __va_steps(type)) - __va_steps(type)))
#define va_end(list) ((void)0)
#else
typedef __builtin_va_list va_list;
#define va_start __builtin_va_start
#define va_arg __builtin_va_arg
#define va_end __builtin_va_end
#endif

#endif

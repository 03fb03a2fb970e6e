/* What the compiler, its library and the C library must at least be able to do;
   the exit status says which of it they can not. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double sum(int count, ...)
{
    va_list numbers;
    double total;

    va_start(numbers, count);
    for (total = 0; count > 0; count--)
        total += va_arg(numbers, double);
    va_end(numbers);
    return total;
}

int main(void)
{
    char text[100];
    unsigned long big;
    long double least;

    big = 0xfedcba9876543210;
    sprintf(text, "%d %s %.3f %g", -5, "five", sum(3, 1.5, 2.25, -0.125), (double)big);
    if (strcmp(text, "-5 five 3.625 1.83648e+19") != 0)
        return 1;
    if (strtod("0.1", NULL) != 0.1 || strtof("0.1", NULL) != 0.1f || strtold("0.1", NULL) != 0.1L)
        return 2;
    /* Whether the least normal number is lost on the way is a known mistake of
       compilers that are built on a strtold that loses it. */
    least = 3.3621031431120935063e-4932L;
    sprintf(text, "%.20Lg", least);
    if (strcmp(text, "3.3621031431120935063e-4932") != 0)
        return 3;
    if (puts("first: a program compiled by tcc") < 0)
        return 4;
    return 0;
}

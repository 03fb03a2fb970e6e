/* The clock of this library is SOURCE_DATE_EPOCH of the environment, or 0:
   what a program of the chain writes must not depend on when it ran. */
#ifndef _TIME_H
#define _TIME_H

#include <stddef.h>

typedef long time_t;

struct tm {
    int tm_sec;
    int tm_min;
    int tm_hour;
    int tm_mday;
    int tm_mon;
    int tm_year;
    int tm_wday;
    int tm_yday;
    int tm_isdst;
};

time_t time(time_t *seconds);
struct tm *gmtime(const time_t *seconds);
struct tm *localtime(const time_t *seconds);

#endif

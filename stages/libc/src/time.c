/* The clock stands still: see time.h. */
#include <errno.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include "libc.h"

enum { DAYS_OF_400_YEARS = 146097, SECONDS_OF_DAY = 86400 };

time_t time(time_t *seconds)
{
    const char *text;
    char *end;
    time_t now;

    now = 0;
    text = getenv("SOURCE_DATE_EPOCH");
    if (text && *text) {
        now = strtol(text, &end, 10);
        if (*end || now < 0)
            __fatal("SOURCE_DATE_EPOCH is not a number of seconds");
    }
    if (seconds)
        *seconds = now;
    return now;
}

int gettimeofday(struct timeval *now, void *zone)
{
    (void)zone;
    now->tv_sec = time(NULL);
    now->tv_usec = 0;
    return 0;
}

/* Years are counted from March, so that the leap day is the last of its year.
   1 March 2000 is day 11017 of the epoch and begins a cycle of 400 years. */
struct tm *gmtime(const time_t *seconds)
{
    static struct tm tm;
    long day, second, cycle, year, n, month;

    day = *seconds / SECONDS_OF_DAY;
    second = *seconds % SECONDS_OF_DAY;
    if (second < 0) {
        second += SECONDS_OF_DAY;
        day--;
    }
    tm.tm_sec = (int)(second % 60);
    tm.tm_min = (int)(second / 60 % 60);
    tm.tm_hour = (int)(second / 3600);
    tm.tm_wday = (int)(((day + 4) % 7 + 7) % 7);

    n = day - 11017;
    cycle = n / DAYS_OF_400_YEARS;
    n %= DAYS_OF_400_YEARS;
    if (n < 0) {
        n += DAYS_OF_400_YEARS;
        cycle--;
    }
    /* n is a day of the cycle: what leap days before it there were is taken
       off, so that all years are 365 days long. */
    year = (n - n / 1460 + n / 36524 - n / 146096) / 365;
    n -= year * 365 + year / 4 - year / 100;
    month = (5 * n + 2) / 153;
    tm.tm_mday = (int)(n - (153 * month + 2) / 5 + 1);
    tm.tm_mon = (int)((month + 2) % 12);
    year += 2000 + 400 * cycle + (month >= 10);
    tm.tm_year = (int)(year - 1900);
    if (tm.tm_mon >= 2)
        tm.tm_yday = (int)(n + 59 + (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)));
    else
        tm.tm_yday = (int)(n - 306);
    tm.tm_isdst = 0;
    return &tm;
}

/* There is no time zone but UTC. */
struct tm *localtime(const time_t *seconds)
{
    return gmtime(seconds);
}

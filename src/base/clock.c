/* Time, behind functions so that tests can set it. Deadlines use the monotonic clock, which no administrator's correction moves; stamps
 * that people and peers read use the wall clock. */
#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Atomics, since a test may run the clock from a thread that is not the one it is testing. */
static atomic_bool fake_on;
static _Atomic uint64_t fake_mono_ms;
static _Atomic uint64_t fake_wall_ms;

static struct timespec clock_now(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return ts;
}

uint64_t clock_ms(void)
{
    if (atomic_load_explicit(&fake_on, memory_order_relaxed)) return atomic_load(&fake_mono_ms);
    struct timespec ts = clock_now(CLOCK_MONOTONIC);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t clock_us(void)
{
    if (atomic_load_explicit(&fake_on, memory_order_relaxed)) return atomic_load(&fake_mono_ms) * 1000;
    struct timespec ts = clock_now(CLOCK_MONOTONIC);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_wall_ms(void)
{
    if (atomic_load_explicit(&fake_on, memory_order_relaxed)) return atomic_load(&fake_wall_ms);
    struct timespec ts = clock_now(CLOCK_REALTIME);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void clock_fake(uint64_t mono_ms, uint64_t wall_ms)
{
    atomic_store(&fake_mono_ms, mono_ms);
    atomic_store(&fake_wall_ms, wall_ms);
    atomic_store(&fake_on, mono_ms != 0 || wall_ms != 0);
}

char *clock_stamp(uint64_t wall_ms, char out[CLOCK_STAMP_SIZE])
{
    /* The last instant that has a four-digit year, as XEP-0082 wants it. */
    const uint64_t last_ms = 253402300799999U;
    if (wall_ms > last_ms) wall_ms = last_ms;
    static _Thread_local char second[CLOCK_STAMP_SIZE]; /* every event has a stamp, and many have the same second */
    static _Thread_local size_t n;
    static _Thread_local uint64_t second_of;
    if (n == 0 || second_of != wall_ms / 1000) {
        second_of = wall_ms / 1000;
        time_t seconds = (time_t)second_of;
        struct tm tm;
        gmtime_r(&seconds, &tm);
        n = strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S", &tm);
    }
    unsigned ms = (unsigned)(wall_ms % 1000);
    const char rest[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z', '\0'};
    memcpy(out, second, n);
    memcpy(out + n, rest, sizeof rest);
    return out;
}

/* Exactly `digits` decimal digits at *text, which moves behind them. */
static bool clock_take_number(const char **text, int digits, int *value)
{
    *value = 0;
    for (int i = 0; i < digits; i++, (*text)++) {
        if (**text < '0' || **text > '9') return false;
        *value = *value * 10 + (**text - '0');
    }
    return true;
}

static bool clock_take_char(const char **text, char c)
{
    if (**text != c) return false;
    (*text)++;
    return true;
}

static int clock_days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* "Z", "+hh:mm" or "-hh:mm", and nothing behind it: the seconds to be subtracted to come to UTC. */
static bool clock_take_zone(const char **text, int *offset)
{
    *offset = 0;
    if (clock_take_char(text, 'Z')) return **text == '\0';
    int sign = **text == '-' ? -1 : 1;
    int hours;
    int minutes;
    if (**text != '+' && **text != '-') return false;
    (*text)++;
    if (!clock_take_number(text, 2, &hours) || !clock_take_char(text, ':') || !clock_take_number(text, 2, &minutes)) return false;
    if (hours > 14 || minutes > 59) return false;
    *offset = sign * (hours * 3600 + minutes * 60);
    return **text == '\0';
}

int clock_parse_stamp(const char *text, uint64_t *wall_ms)
{
    int year;
    int month;
    int day;
    int hour;
    int minute;
    int second;
    int offset;
    int ms = 0;
    if (!clock_take_number(&text, 4, &year) || !clock_take_char(&text, '-') || !clock_take_number(&text, 2, &month)) return -1;
    if (!clock_take_char(&text, '-') || !clock_take_number(&text, 2, &day) || !clock_take_char(&text, 'T')) return -1;
    if (!clock_take_number(&text, 2, &hour) || !clock_take_char(&text, ':') || !clock_take_number(&text, 2, &minute)) return -1;
    if (!clock_take_char(&text, ':') || !clock_take_number(&text, 2, &second)) return -1;
    if (clock_take_char(&text, '.')) {
        if (*text < '0' || *text > '9') return -1;
        for (int unit = 100; *text >= '0' && *text <= '9'; text++, unit /= 10) ms += (*text - '0') * unit;
    }
    if (month < 1 || month > 12 || hour > 23 || minute > 59 || second > 60) return -1; /* 60: a leap second */
    if (day < 1 || day > clock_days_in_month(year, month) || !clock_take_zone(&text, &offset)) return -1;
    struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour, .tm_min = minute, .tm_sec = second};
    int64_t seconds = (int64_t)timegm(&tm) - offset;
    if (seconds < 0) return -1; /* before 1970: no stamp of ours */
    *wall_ms = (uint64_t)seconds * 1000 + (uint64_t)ms;
    return 0;
}

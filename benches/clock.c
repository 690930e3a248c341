// Lets the time of a counted program pass slowly, and lets a silence pass at once. Preloaded by benches/clock.rs.
//
// Valgrind makes a program about fifty times slower, but time passes as usual. The function would therefore miss its
// own time limits, above all on a busy machine, and do other work than on Lambda.

#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SLOWER = 200 };

static const long long SECOND = 1000000000;

// The silences so far, in nanoseconds. The harness writes them into a file.
static const volatile long long *silences;

// The time at which the program started, by each clock.
static long long started[2];

static long long nanoseconds(clockid_t clock) {
    struct timespec time;
    syscall(SYS_clock_gettime, clock, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

__attribute__((constructor)) static void start(void) {
    const char *name = getenv("OTP_BENCH_CLOCK");
    int file = name == NULL ? -1 : open(name, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    void *shared = mmap(NULL, sizeof *silences, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (shared == MAP_FAILED)
        return;
    started[CLOCK_REALTIME] = nanoseconds(CLOCK_REALTIME);
    started[CLOCK_MONOTONIC] = nanoseconds(CLOCK_MONOTONIC);
    silences = shared;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (silences == NULL || (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC))
        return (int)syscall(SYS_clock_gettime, clock, time);
    long long now = started[clock] + (nanoseconds(clock) - started[clock]) / SLOWER + *silences;
    time->tv_sec = now / SECOND;
    time->tv_nsec = now % SECOND;
    return 0;
}

// The function waits for its timers and its connections here.
int epoll_wait(int epoll, struct epoll_event *events, int most, int milliseconds) {
    if (silences != NULL && milliseconds > 0)
        milliseconds = milliseconds > INT_MAX / SLOWER ? INT_MAX : milliseconds * SLOWER;
    return (int)syscall(SYS_epoll_pwait, epoll, events, most, milliseconds, NULL, 0);
}

/* Preloaded into a server: shifts its clocks by the seconds in two lines of the file CLOCK_OFFSETS, of the wall clock and of
   the monotonic clock. The time since the boot stays right. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    const char *path = getenv("CLOCK_OFFSETS");
    if (result == 0 && path && (clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC)) {
        long wall = 0, monotonic = 0;
        FILE *file = fopen(path, "r");
        if (file) {
            if (fscanf(file, "%ld %ld", &wall, &monotonic) != 2)
                abort();
            fclose(file);
        }
        time->tv_sec += clock == CLOCK_REALTIME ? wall : monotonic;
    }
    return result;
}

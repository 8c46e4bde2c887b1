/* Gives one process a wall clock of its own, for LD_PRELOAD. The file named by LINESIDE_TEST_CLOCK holds two 64-bit
 * integers: how many nanoseconds the clock is off, and whether the kernel calls it synchronised. Whoever writes them
 * sets the clock, at once. The monotonic clocks stay as they are. Unlike libfaketime it fakes adjtimex(2) as well. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *shared;

__attribute__((constructor)) static void map(void) {
  const char *path = getenv("LINESIDE_TEST_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *memory = mmap(NULL, 2 * sizeof *shared, PROT_READ, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) abort();
  shared = memory;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  int answer = (int)syscall(SYS_clock_gettime, clock, time);
  if (answer == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    const int64_t second = 1000000000;
    int64_t nanos = (int64_t)time->tv_sec * second + time->tv_nsec + shared[0];
    time->tv_sec = nanos / second;
    time->tv_nsec = nanos % second;
    if (time->tv_nsec < 0) {
      time->tv_nsec += second;
      time->tv_sec -= 1;
    }
  }
  return answer;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  (void)zone;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *where) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (where) *where = now.tv_sec;
  return now.tv_sec;
}

int adjtimex(struct timex *timex) {
  memset(timex, 0, sizeof *timex);
  timex->status = shared[1] ? STA_PLL : STA_UNSYNC;
  return shared[1] ? TIME_OK : TIME_ERROR;
}

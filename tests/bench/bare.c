/* What the poller is compared with: the least that the same work costs, and how punctual a bare timer is here.
 *
 *   bare timer COUNT INTERVAL_MS SECONDS            COUNT deadlines an interval, spread evenly; how late each was met
 *   bare client COUNT INTERVAL_MS SECONDS PORT REGISTERS
 *                                                   the same, and at each deadline libmodbus reads so many holding
 *                                                   registers of the next device of `field`, in one loop
 *
 * Prints one line of JSON: how late the deadlines were met, in microseconds, and the CPU time of the loop.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <modbus/modbus.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static int64_t now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    int client = argc == 7 && strcmp(argv[1], "client") == 0;
    if (!client && (argc != 5 || strcmp(argv[1], "timer"))) {
        fprintf(stderr, "usage: bare timer COUNT INTERVAL_MS SECONDS\n       bare client COUNT INTERVAL_MS SECONDS PORT REGISTERS\n");
        return 64;
    }
    int count = atoi(argv[2]), seconds = atoi(argv[4]), registers = client ? atoi(argv[6]) : 0;
    int64_t interval = atoll(argv[3]) * 1000000, step = interval / count, total = seconds * 1000000000ll / step;
    struct rlimit limit = {8192, 8192};
    setrlimit(RLIMIT_NOFILE, &limit);
    modbus_t **devices = calloc(count, sizeof *devices);
    for (int i = 0; client && i < count; i++) {
        char address[32];
        snprintf(address, sizeof address, "127.1.%d.%d", i / 250, 1 + i % 250);
        devices[i] = modbus_new_tcp(address, atoi(argv[5]));
        modbus_set_slave(devices[i], 1);
        if (modbus_connect(devices[i]) < 0) {
            fprintf(stderr, "bare: %s: %s\n", address, modbus_strerror(errno));
            return 1;
        }
    }
    int64_t *late = calloc(total, sizeof *late), start = now(CLOCK_MONOTONIC) + 50000000, missed = 0, failed = 0;
    int64_t cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    for (int64_t i = 0; i < total; i++) {
        int64_t due = start + i * step;
        struct timespec until = {due / 1000000000, due % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        late[i] = now(CLOCK_MONOTONIC) - due;
        missed += late[i] > interval / 20;
        uint16_t values[125];
        if (client && modbus_read_registers(devices[i % count], 0, registers, values) != registers)
            failed++;
    }
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    qsort(late, total, sizeof *late, ascending);
    printf("{\"polls\": %ld, \"failed\": %ld, \"cpu_s\": %.6f, \"within\": %.6f, \"p50_us\": %.0f, \"p95_us\": %.0f, "
           "\"p99_us\": %.0f, \"max_us\": %.0f}\n",
           (long)total, (long)failed, cpu / 1e9, 1 - (double)missed / total, late[total / 2] / 1e3,
           late[total * 95 / 100] / 1e3, late[total * 99 / 100] / 1e3, late[total - 1] / 1e3);
    return 0;
}

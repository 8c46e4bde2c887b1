/* Many light Modbus TCP devices, and the time at which each request came: what the poller is measured against.
 *
 *   field PORT COUNT addresses|units DEAD
 *
 * `addresses`: device i is unit 1 of 127.1.(i / 250).(1 + i % 250):PORT. `units`: device i is unit i + 1 of 127.1.0.1:PORT.
 * Device DEAD takes requests and never answers (-1: all answer). Any read is answered with registers that move by -2 to
 * +2. Prints one line when it listens. On standard input: `mark` forgets the times so far, `dump FILE` writes them, each as
 * two little-endian 64-bit numbers (device, nanoseconds of CLOCK_MONOTONIC). Ends with its standard input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_FILES = 8192, MOST_RECORDS = 8 << 20, REQUEST = 12, HEADER = 9, MOST_REGISTERS = 125 };

struct connection {
    int device, used, listens;
    uint8_t bytes[REQUEST * 16];
};

static struct connection files[MOST_FILES];
static uint64_t records[MOST_RECORDS][2];
static size_t recorded;
static int by_unit, dead;

static void die(const char *what) {
    fprintf(stderr, "field: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static unsigned next_random(void) {
    static unsigned state = 2463534242u;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static void watch(int poller, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd >= MOST_FILES || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
        die("cannot watch");
}

static int listen_at(uint32_t address, int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 64) < 0)
        die("cannot listen");
    return fd;
}

static void answer(int fd, int device, const uint8_t *request) {
    static uint16_t values[4096];
    int count = request[10] << 8 | request[11];
    uint8_t reply[HEADER + 2 * MOST_REGISTERS] = {request[0], request[1], 0, 0, 0, 0, request[6]};
    if (count < 1 || count > MOST_REGISTERS || request[7] < 3 || request[7] > 4) {
        memcpy(reply + 4, (uint8_t[]){0, 3, request[6], request[7] | 0x80, 3}, 5);
        if (write(fd, reply, HEADER) < 0)
            return;
        return;
    }
    reply[4] = (3 + 2 * count) >> 8;
    reply[5] = (3 + 2 * count) & 255;
    reply[7] = request[7];
    reply[8] = 2 * count;
    for (int i = 0; i < count; i++) {
        uint16_t *value = &values[(device * 20 + i) % 4096];
        *value += next_random() % 5 - 2;
        reply[HEADER + 2 * i] = *value >> 8;
        reply[HEADER + 2 * i + 1] = *value & 255;
    }
    if (write(fd, reply, HEADER + 2 * count) < 0)
        return;
}

static int serve(int fd) {
    struct connection *connection = &files[fd];
    ssize_t length = read(fd, connection->bytes + connection->used, sizeof connection->bytes - connection->used);
    if (length <= 0)
        return length < 0 && errno == EAGAIN ? 0 : -1;
    uint64_t time = now();
    connection->used += length;
    int at = 0;
    for (; connection->used - at >= REQUEST; at += REQUEST) {
        const uint8_t *request = connection->bytes + at;
        int device = by_unit ? request[6] - 1 : connection->device;
        if (recorded < MOST_RECORDS) {
            records[recorded][0] = device;
            records[recorded++][1] = time;
        }
        if (device != dead)
            answer(fd, device, request);
    }
    memmove(connection->bytes, connection->bytes + at, connection->used -= at);
    return 0;
}

static void command(char *line) {
    line[strcspn(line, "\n")] = 0;
    if (!strncmp(line, "dump ", 5)) {
        FILE *file = fopen(line + 5, "w");
        if (!file || fwrite(records, sizeof *records, recorded, file) != recorded || fclose(file))
            die("cannot dump");
    } else if (strcmp(line, "mark") == 0) {
        recorded = 0;
    }
    printf("{\"recorded\": %zu}\n", recorded);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: field PORT COUNT addresses|units DEAD\n");
        return 64;
    }
    struct rlimit limit = {MOST_FILES, MOST_FILES};
    setrlimit(RLIMIT_NOFILE, &limit);
    int port = atoi(argv[1]), count = atoi(argv[2]), poller = epoll_create1(0);
    by_unit = strcmp(argv[3], "units") == 0;
    dead = atoi(argv[4]);
    for (int i = 0; i < (by_unit ? 1 : count); i++) {
        int fd = listen_at(0x7f010000 | (i / 250) << 8 | (1 + i % 250), port);
        watch(poller, fd);
        files[fd] = (struct connection){.device = i, .listens = 1};
    }
    watch(poller, STDIN_FILENO);
    printf("listening %d\n", port);
    fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == STDIN_FILENO) {
                char line[4096];
                if (!fgets(line, sizeof line, stdin))
                    return 0;
                command(line);
            } else if (files[fd].listens) {
                int on = 1, accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
                if (accepted < 0)
                    continue;
                setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                watch(poller, accepted);
                files[accepted] = (struct connection){.device = files[fd].device};
            } else if (serve(fd) < 0) {
                close(fd);
            }
        }
    }
}

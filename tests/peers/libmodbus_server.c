/* A Modbus TCP device made of libmodbus, for the end-to-end tests and the benchmarks.
 *
 *   libmodbus_server PORT COUNT still|moving
 *
 * COUNT devices on 127.0.0.1, PORT upwards, each with 10 000 entries in each of the four tables. Each entry starts as a
 * known function of its address and its device: holding and input registers are address + 7 * device (mod 65536), a
 * coil or discrete input is set where its address is a multiple of 3. With `moving`, each read of a holding register
 * block first moves its registers by -2 to +2, as measured values do. Prints one line when it listens; ends with its
 * standard input, or on SIGTERM. One process, one thread, poll(2).
 */
#include <errno.h>
#include <modbus/modbus.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ENTRIES = 10000, MAX_DEVICES = 1200, MAX_CONNECTIONS = 4096 };

struct device {
    modbus_t *context;
    modbus_mapping_t *map;
    int listener;
};

static struct device devices[MAX_DEVICES];
static struct pollfd polled[1 + MAX_DEVICES + MAX_CONNECTIONS];
static int device_of[1 + MAX_DEVICES + MAX_CONNECTIONS];

static void die(const char *what) {
    fprintf(stderr, "libmodbus_server: %s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

static unsigned next_random(void) {
    static unsigned state = 2463534242u;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static void move_registers(modbus_mapping_t *map, const uint8_t *request, int header) {
    if (request[header] != MODBUS_FC_READ_HOLDING_REGISTERS)
        return;
    int first = (request[header + 1] << 8) | request[header + 2];
    int count = (request[header + 3] << 8) | request[header + 4];
    for (int i = first; i < first + count && i < ENTRIES; i++)
        map->tab_registers[i] += next_random() % 5 - 2;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: libmodbus_server PORT COUNT still|moving\n");
        return 64;
    }
    int port = atoi(argv[1]), count = atoi(argv[2]), moving = strcmp(argv[3], "moving") == 0;
    if (count < 1 || count > MAX_DEVICES) {
        fprintf(stderr, "libmodbus_server: COUNT is 1 to %d\n", MAX_DEVICES);
        return 64;
    }
    polled[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    for (int d = 0; d < count; d++) {
        struct device *device = &devices[d];
        device->context = modbus_new_tcp("127.0.0.1", port + d);
        device->map = modbus_mapping_new(ENTRIES, ENTRIES, ENTRIES, ENTRIES);
        if (!device->context || !device->map)
            die("cannot allocate");
        for (int i = 0; i < ENTRIES; i++) {
            device->map->tab_registers[i] = device->map->tab_input_registers[i] = (uint16_t)(i + 7 * d);
            device->map->tab_bits[i] = device->map->tab_input_bits[i] = i % 3 == 0;
        }
        device->listener = modbus_tcp_listen(device->context, 16);
        if (device->listener < 0)
            die("cannot listen");
        polled[1 + d] = (struct pollfd){.fd = device->listener, .events = POLLIN};
    }
    int used = 1 + count;
    printf("listening %d\n", port);
    fflush(stdout);

    uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
    for (;;) {
        if (poll(polled, used, -1) < 0 && errno != EINTR)
            return 1;
        if (polled[0].revents)
            return 0;
        for (int i = 1; i <= count; i++) {
            if (!(polled[i].revents & POLLIN))
                continue;
            int fd = accept(polled[i].fd, NULL, NULL);
            if (fd >= 0 && used == 1 + count + MAX_CONNECTIONS) {
                close(fd);
            } else if (fd >= 0) {
                device_of[used] = i - 1;
                polled[used++] = (struct pollfd){.fd = fd, .events = POLLIN};
            }
        }
        for (int i = 1 + count; i < used; i++) {
            if (!polled[i].revents)
                continue;
            struct device *device = &devices[device_of[i]];
            modbus_set_socket(device->context, polled[i].fd);
            int length = modbus_receive(device->context, request);
            if (length > 0 && moving)
                move_registers(device->map, request, modbus_get_header_length(device->context));
            if (length < 0 || (length > 0 && modbus_reply(device->context, request, length, device->map) < 0)) {
                close(polled[i].fd);
                used--;
                polled[i] = polled[used];
                device_of[i] = device_of[used];
                i--;
            }
        }
    }
}

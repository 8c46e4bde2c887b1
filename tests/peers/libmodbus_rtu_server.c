/* An RTU device made of libmodbus, for the end-to-end tests.
 *
 *   libmodbus_rtu_server PATH UNIT
 *
 * One unit on the serial line PATH, 19 200 baud, no parity, with 1 000 entries in each of the four tables: registers are
 * their address plus 1 000 times the unit, a bit is set where its address is a multiple of 3. Prints one line when it
 * listens; ends with its standard input or with the line.
 */
#include <errno.h>
#include <modbus/modbus.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ENTRIES = 1000 };

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: libmodbus_rtu_server PATH UNIT\n");
        return 64;
    }
    int unit = atoi(argv[2]);
    modbus_t *line = modbus_new_rtu(argv[1], 19200, 'N', 8, 1);
    modbus_mapping_t *map = modbus_mapping_new(ENTRIES, ENTRIES, ENTRIES, ENTRIES);
    if (!line || !map || modbus_set_slave(line, unit) < 0 || modbus_connect(line) < 0) {
        fprintf(stderr, "libmodbus_rtu_server: %s: %s\n", argv[1], modbus_strerror(errno));
        return 1;
    }
    for (int i = 0; i < ENTRIES; i++) {
        map->tab_registers[i] = map->tab_input_registers[i] = i + 1000 * unit;
        map->tab_bits[i] = map->tab_input_bits[i] = i % 3 == 0;
    }
    printf("listening %s\n", argv[1]);
    fflush(stdout);
    struct pollfd ends[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = modbus_get_socket(line), .events = POLLIN}};
    uint8_t request[MODBUS_RTU_MAX_ADU_LENGTH];
    for (;;) {
        if (poll(ends, 2, -1) < 0 && errno != EINTR)
            return 1;
        if (ends[0].revents || (ends[1].revents & (POLLHUP | POLLERR)))
            return 0;
        int length = ends[1].revents ? modbus_receive(line, request) : 0;
        if (length > 0)
            modbus_reply(line, request, length, map);
    }
}

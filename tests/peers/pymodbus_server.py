"""A Modbus TCP device made of pymodbus, for the end-to-end tests.

    pymodbus_server.py PORT

One device, unit 1, on 127.0.0.1:PORT. Its tables hold known values in every type and byte order; the test beside
it (tests/tests/peers.rs) has the same list. Prints one line when it listens; ends with its standard input.
"""

import asyncio
import datetime
import struct
import sys

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def words(kind: str, value: float, order: str) -> list[int]:
    """`value` as registers; `order` names where each of its big-endian bytes A, B, … goes."""
    raw = struct.pack(">" + kind, value)
    placed = bytes(raw["ABCDEFGH".index(letter)] for letter in order)
    return list(struct.unpack(f">{len(placed) // 2}H", placed))


def holding() -> dict[int, list[int]]:
    table = {
        0: [42], 1: [0x8000], 2: words("h", -1234, "AB"), 3: words("H", 0x1234, "BA"), 4: [0b0000_0000_0010_1000],
        5: words("h", 215, "AB"),
    }
    at = 10
    for order in ("ABCD", "CDAB", "BADC", "DCBA"):
        for kind, value in (("I", 3_000_000_000), ("i", -2_000_000_000), ("f", 12.3)):
            table[at] = words(kind, value, order)
            at += 2
    for order in ("ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"):
        for kind, value in (("Q", 2**64 - 3), ("q", -(2**63)), ("d", 0.1)):
            table[at] = words(kind, value, order)
            at += 4
    return table | digits() | times() | texts() | nonsense()


def placed(big_endian: bytes, order: str) -> list[int]:
    return words(f"{len(big_endian)}s", big_endian, order)


ORDERS = {4: ("ABCD", "CDAB", "BADC", "DCBA"), 8: ("ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA")}


def digits() -> dict[int, list[int]]:
    """200 to 243: the digits of a number as nibbles, then as registers of four digits."""
    table = {200: placed(bytes.fromhex("1234"), "AB"), 201: placed(bytes.fromhex("1234"), "BA")}
    at = 202
    for text in ("12345678", "1234567890123456"):
        for order in ORDERS[len(text) // 2]:
            table[at] = placed(bytes.fromhex(text), order)
            at += len(text) // 4
    for text in ("12345678", "123456789012", "1234567890123456"):
        registers = [int(text[i : i + 4]) for i in range(0, len(text), 4)]
        for written in (registers, registers[::-1]):
            table[at] = written
            at += len(written)
    return table


def times() -> dict[int, list[int]]:
    """244 to 284: one moment, 2026-11-26T12:34:56.789Z, in every form."""
    moment = datetime.datetime(2026, 11, 26, 12, 34, 56, 789_000, datetime.timezone.utc)
    table, at = {}, 244
    for kind, unit in (("I", 1), ("Q", 1000)):
        for order in ORDERS[struct.calcsize(">" + kind)]:
            table[at] = words(kind, int(moment.timestamp() * unit), order)
            at += len(table[at])
    for form in ("%y%m%d%H%M%S", "%y%m%d%H%M%S789" + str(moment.isoweekday() % 7 + 1)):
        registers = list(struct.unpack(f">{len(moment.strftime(form)) // 4}H", bytes.fromhex(moment.strftime(form))))
        for written in (registers, registers[::-1]):
            table[at] = written
            at += len(written)
    local = moment.astimezone(datetime.timezone(datetime.timedelta(hours=1)))
    table[at] = list(struct.unpack(">3H", bytes.fromhex(local.strftime("%y%m%d%H%M%S"))))
    return table


def texts() -> dict[int, list[int]]:
    """290 to 341. The first one as pymodbus itself writes it."""
    convert = AsyncModbusTcpClient.convert_to_registers
    plain = convert("Pump 7", AsyncModbusTcpClient.DATATYPE.STRING)
    degrees = "Öl 40 °C".encode("utf-8").ljust(16, b"\0")
    latin = "Öl 40 °C".encode("latin-1").ljust(16, b"\0")
    return {
        290: plain + [0] * (8 - len(plain)),
        298: [int.from_bytes(degrees[i : i + 2], "little") for i in range(0, 16, 2)],
        306: [ord(c) for c in "Pump 7".ljust(10, "\0")],
        316: [ord(c) << 8 for c in "Pump 7".ljust(10, "\0")],
        326: list(struct.unpack(">8H", latin)),
        334: list(struct.unpack(">8H", b"  LOT-0815".ljust(16))),
    }


def nonsense() -> dict[int, list[int]]:
    """350 to 357: what must never become a value."""
    return {350: [0x123A], 351: [9999, 10000], 353: list(struct.unpack(">2H", b"\xd6l\0\0")), 355: [0x2602, 0x3012, 0]}


async def main(port: int) -> None:
    registers = [SimData(at, values=values, datatype=DataType.REGISTERS) for at, values in sorted(holding().items())]
    inputs = [SimData(0, values=[100, 200, 300], datatype=DataType.REGISTERS)]
    # In blocks of their own, each address of a bit table is one bit.
    coils = [SimData(0, values=[True, False, True] + [False] * 13, datatype=DataType.BITS)]
    discrete = [SimData(0, values=[False, True, False] + [False] * 13, datatype=DataType.BITS)]
    device = SimDevice(1, simdata=(coils, discrete, registers, inputs))
    server = ModbusTcpServer(device, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    print(f"listening {port}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.shutdown()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

"""A Modbus TCP device made of pymodbus, for the end-to-end tests.

    pymodbus_server.py PORT

One device, unit 1, on 127.0.0.1:PORT. Its tables hold known values in every type and byte order; the test beside
it (tests/tests/peers.rs) has the same list. Prints one line when it listens; ends with its standard input.
"""

import asyncio
import struct
import sys

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
    return table


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

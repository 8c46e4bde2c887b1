"""Two RTU devices made of pymodbus on one serial line, for the end-to-end tests.

    pymodbus_rtu_server.py PATH

Units 1 and 2 at 19 200 baud without parity. Holding register 10 of both is 12.3 as f32 CDAB; input registers 0 to 2 are 100,
200, 300 of unit 1 and 111, 222, 333 of unit 2; every third coil and every other discrete input is set. Prints one line when it
listens; ends with its standard input.
"""

import asyncio
import struct
import sys

from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice


def device(unit: int, inputs: list[int]) -> SimDevice:
    high, low = struct.unpack(">2H", struct.pack(">f", 12.3))
    registers = [SimData(10, values=[low, high], datatype=DataType.REGISTERS)]
    coils = [SimData(0, values=[i % 3 == 0 for i in range(16)], datatype=DataType.BITS)]
    discrete = [SimData(0, values=[i % 2 == 0 for i in range(16)], datatype=DataType.BITS)]
    return SimDevice(unit, simdata=(coils, discrete, registers, [SimData(0, values=inputs, datatype=DataType.REGISTERS)]))


async def main(path: str) -> None:
    units = [device(1, [100, 200, 300]), device(2, [111, 222, 333])]
    server = ModbusSerialServer(units, framer=FramerType.RTU, port=path, baudrate=19200, parity="N")
    await server.serve_forever(background=True)
    print(f"listening {path}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

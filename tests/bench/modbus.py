"""How punctual the poller is and what it costs, beside a bare timer and a bare libmodbus loop; and what one dead device
costs the others. Requests are timed where they arrive (field.c). The figures that are wanted stand in README.md."""

import json
import pathlib
import statistics
import struct
import subprocess
import time
from collections import defaultdict

from stage import ROOT, Bench, Process, cpu_seconds, rss_mib, show

PORT, REGISTERS = 15502, 20
WITHIN = 0.05
HERE = pathlib.Path(__file__).resolve().parent
BINARIES = ROOT / "target/bench"


def compile_bare() -> None:
    BINARIES.mkdir(parents=True, exist_ok=True)
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libmodbus"], capture_output=True, text=True, check=True)
    for program in ("field", "bare"):
        source = HERE / f"{program}.c"
        command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", BINARIES / program, source, *flags.stdout.split()]
        subprocess.run(command, check=True)


def field(count: int, how: str, dead: int = -1) -> Process:
    return Process([str(BINARIES / "field"), str(PORT), str(count), how, str(dead)])


def bare(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([BINARIES / "bare", *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def devices(count: int, how: str, poll: str) -> str:
    text = ""
    for device in range(count):
        address = f"127.1.{device // 250}.{1 + device % 250}" if how == "addresses" else "127.1.0.1"
        unit = 1 if how == "addresses" else device + 1
        text += f"""[[device]]
name = "device-{device}"
protocol = "modbus-tcp"
address = "{address}:{PORT}"
unit = {unit}
poll = "{poll}"
"""
        for register in range(REGISTERS):
            text += f'[[device.signal]]\nname = "register_{register}"\nregister = "holding:{register}"\ntype = "u16"\n'
    return text


def arrivals(plant: Process, directory: pathlib.Path) -> dict[int, list[float]]:
    """When each device was asked, in seconds."""
    path = directory / "arrivals"
    plant.ask(f"dump {path}")
    times = defaultdict(list)
    for device, at in struct.iter_unpack("<QQ", path.read_bytes()):
        times[device].append(at / 1e9)
    return times


def lateness(times: list[float], interval: float) -> tuple[list[float], int]:
    """How late each request came on the regular grid that its earliest one lies on, and how many places stayed empty."""
    places = [round((at - times[0]) / interval) for at in times]
    offsets = [at - place * interval for at, place in zip(times, places)]
    earliest = min(offsets)
    return [offset - earliest for offset in offsets], places[-1] + 1 - len(set(places))


def percentile(values: list[float], which: float) -> float:
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * which))]


def distribution(late: list[float], interval: float) -> str:
    within = sum(value <= WITHIN * interval for value in late) / len(late)
    middle, p95, p99 = (percentile(late, which) * 1e3 for which in (0.5, 0.95, 0.99))
    return f"{100 * within:.3f} %; {middle:.2f} / {p95:.2f} / {p99:.2f} / {max(late) * 1e3:.2f} ms"


def told(bare: dict) -> str:
    p50, p95, p99, most = (bare[key] / 1e3 for key in ("p50_us", "p95_us", "p99_us", "max_us"))
    return f"{100 * bare['within']:.3f} %; {p50:.2f} / {p95:.2f} / {p99:.2f} / {most:.2f} ms"


def gateway(binaries, seconds: int, **_) -> None:
    """1 000 devices x 20 registers at 1 s."""
    count, interval = 1000, 1.0
    compile_bare()
    plant = field(count, "addresses")
    bench = Bench(binaries, poll="", plant=plant, devices=devices(count, "addresses", "1s")).run()
    time.sleep(8)
    timer = bare("timer", count, int(interval * 1e3), seconds)
    before, _marked = bench.sample(), plant.ask("mark")
    time.sleep(seconds)
    after = bench.sample()
    times = arrivals(plant, bench.directory)
    timer = json.loads(timer.communicate()[0])
    rss, _peak = rss_mib(bench.daemon.pid)
    client = json.loads(bare("client", count, int(interval * 1e3), seconds, PORT, REGISTERS).communicate()[0])
    # The daemon polls on meanwhile: each of the two has the other, and the same devices, beside it.
    beside = bench.sample()
    end = bench.end()

    late, missing = [], 0
    for device in times.values():
        of_device, empty = lateness(device, interval)
        late += of_device
        missing += empty
    delta = {key: after[key] - before[key] for key in before}
    ours = delta["cpu"] / (delta["polls"] * REGISTERS) * 1e6
    again = (beside["cpu"] - after["cpu"]) / ((beside["polls"] - after["polls"]) * REGISTERS) * 1e6
    theirs = client["cpu_s"] / (client["polls"] * REGISTERS) * 1e6
    show(f"**gateway**: {count} devices x {REGISTERS} registers at 1 s, {seconds} s", [
        ("overruns; devices asked; places of the grid without a request", f"{delta['overruns']}; {len(times)}; {missing}"),
        ("RSS at the end / peak", f"{rss:.1f} / {end['peak']:.1f} MiB"),
        ("polls within 5 % of their time; late p50 / p95 / p99 / most", distribution(late, interval)),
        ("the same of a bare timer loop, meanwhile", told(timer)),
        ("the same of the bare libmodbus loop, afterwards", told(client)),
        ("CPU seconds per million readings, daemon (all of it: decoding, disk, TLS)", f"{ours:.2f}; beside the loop {again:.2f}"),
        ("CPU seconds per million readings, bare libmodbus loop", f"{theirs:.2f}"),
        ("ratio", f"{ours / theirs:.2f}; side by side {again / theirs:.2f}"),
        ("readings dropped; requests of the bare loop that failed", f"{end['lane']['dropped']}; {client['failed']}"),
    ])


def isolation(binaries, seconds: int, **_) -> None:
    """10 units, one of them dead: what the others notice."""
    count, dead, poll = 10, 4, "100ms"
    compile_bare()
    for how, what in (("units", "behind one host:port"), ("addresses", "at addresses of their own")):
        found = {}
        for silent in (-1, dead):
            plant = field(count, how, silent)
            bench = Bench(binaries, poll="", plant=plant, devices=devices(count, how, poll)).run()
            # From the first request on: what it costs to find out that the device is dead is part of it.
            plant.ask("mark")
            time.sleep(seconds)
            times = arrivals(plant, bench.directory)
            overruns = {device["name"]: device["overruns"] for device in bench.status()["devices"]}
            bench.end()
            others = [device for device in range(count) if device != dead]
            gaps = [b - a for device in others for a, b in zip(times[device], times[device][1:])]
            found[silent] = (gaps, sum(overruns[f"device-{device}"] for device in others), len(times[dead]))
        rows = []
        for silent, name in ((-1, "all alive"), (dead, "one dead")):
            gaps, overruns, asked = found[silent]
            spread = " / ".join(f"{percentile(gaps, which) * 1e3:.2f}" for which in (0.5, 0.95, 0.99))
            rows.append((f"{name}: interval p50 / p95 / p99 / most", f"{spread} / {max(gaps) * 1e3:.2f} ms of {len(gaps)}"))
            rows.append((f"{name}: jitter (standard deviation)", f"{statistics.pstdev(gaps) * 1e3:.2f} ms"))
            rows.append((f"{name}: overruns of the nine others; requests to the tenth", f"{overruns}; {asked}"))
        with_dead, without = (percentile(found[silent][0], 0.95) for silent in (dead, -1))
        rows.append(("95th percentile of the interval changes by", f"{100 * (with_dead / without - 1):+.1f} %"))
        show(f"**isolation**: {count} units {what} at {poll}, {seconds} s each", rows)

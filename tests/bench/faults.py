"""What an outage costs, and what a backlog costs the live data. The figures that are wanted stand in README.md."""

import threading
import time

from stage import COMMIT_INTERVAL, DEVICES, REGISTERS, Bench, rss_mib, show

# Nothing but the order of sending may delay what is live: the whole disk in a second, if the line takes it.
UNCAPPED = 'backfill_rate = "1GiB/s"'
# Devices that are lost are found again soon, so that they come and go while a backlog drains.
FLAPPING = 'reconnect_min = "100ms"\nreconnect_max = "200ms"'


def outage(binaries, seconds: int, **_) -> None:
    """2 000 readings/s, the receiver away for so long; how soon everything is there after it is back."""
    bench = Bench(binaries, poll="1s").run()
    bench.ingest.ask("await 10000")
    bench.ingest.ask("stop")
    time.sleep(seconds)
    owed = bench.readings()
    back = bench.ingest.ask("start")["at_ms"]
    there = bench.ingest.ask(f"await {owed['collected']}")["at_ms"]
    end = bench.end()
    show(f"**outage**: {DEVICES} devices x {REGISTERS} registers at 1 s, the receiver away for {seconds} s", [
        ("readings owed when it was back", str(owed["pending"])),
        ("everything delivered after it was back", f"{(there - back) / 1e3:.2f} s"),
        ("dropped", str(end["lane"]["dropped"])),
        ("RSS at the end / peak", f"{end['rss']:.1f} / {end['peak']:.1f} MiB"),
    ])


def backlog(binaries, readings: int, **_) -> None:
    """A backlog of so many readings: reopened, then drained as fast as it goes, with live data beside it."""
    drained(binaries, readings, "backlog", UNCAPPED, "")


def drain(binaries, readings: int, seconds: int, **_) -> None:
    """The same at the default rate, for so long, while the devices come and go: what it costs the live data."""
    drained(binaries, readings, "drain", "", FLAPPING, seconds)


def drained(binaries, readings, name, uplink, device_keys, seconds=None) -> None:
    bench = Bench(binaries, poll="1s", uplink=uplink, device_keys=device_keys)
    filled = bench.fill(readings)
    bench.run()
    first = bench.ingest.ask("await 1")
    epoch = bench.status()["epoch"]
    peak, ended = [], threading.Event()
    watching = threading.Thread(target=watch, args=(bench.daemon.pid, peak, ended))
    watching.start()
    if seconds is None:
        last = bench.ingest.ask(f"await {filled['readings']}")
    else:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(2)
            bench.restart_plant()
        last = bench.ingest.ask("counters")
    lateness = bench.ingest.ask(f"lateness {epoch}")
    ended.set()
    watching.join()
    end = bench.end()
    took = (last["at_ms"] - first["at_ms"]) / 1e3
    delivered = last["readings"] - first["readings"]
    late = lambda lane: "{p50} / {p99} / {max} ms of {count}".format(**lateness[lane])
    opened = sorted(filled["reopened_ms"])
    show(f"**{name}**: a backlog of {filled['readings']:,} readings in blocks of 4 000, and 2 000 live readings/s", [
        ("bytes per reading in the buffer", f"{filled['bytes'] / filled['readings']:.2f}"),
        ("the buffer opens in (median of 5 / slowest)", f"{opened[2]:.0f} / {opened[-1]:.0f} ms"),
        ("readings delivered per second", f"{delivered / took:,.0f} for {took:.1f} s"),
        ("RSS at most meanwhile", f"{max(peak):.1f} MiB"),
        (f"live readings late, p50 / p99 / most (commit interval {COMMIT_INTERVAL * 1e3:.0f} ms)", late("readings")),
        ("events late, p50 / p99 / most", late("events")),
        ("dropped", str(end["lane"]["dropped"])),
    ])


def watch(pid: int, peak: list[float], ended: threading.Event) -> None:
    while not ended.wait(0.2):
        peak.append(rss_mib(pid)[0])

"""What every benchmark plays on: libmodbus devices, the reference receiver behind mTLS, and the daemon as packages have
it, each a process of its own. What is measured is in `run` and `faults.py`."""

import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEVICES, REGISTERS, PORT = 20, 100, 15200
COMMIT_INTERVAL = 1.0


def build(example: bool = False) -> tuple[pathlib.Path, pathlib.Path]:
    """The daemon without the demonstration, and the receiver; `example` is what fills a buffer at once."""
    cargo = ["cargo", "build", "--quiet", "--release", "--locked"]
    daemon = ["--package", "lineside", "--no-default-features"]
    subprocess.run([*cargo, *daemon], cwd=ROOT, check=True)
    if example:
        subprocess.run([*cargo, *daemon, "--example", "backlog"], cwd=ROOT, check=True)
    subprocess.run([*cargo, "--package", "lineside-testbed", "--example", "ingest"], cwd=ROOT, check=True)
    target = ROOT / "target/release"
    return target / "lineside", target / "examples/ingest"


def configuration(directory: pathlib.Path, cloud: dict, poll: str, uplink: str = "", device_keys: str = "",
                  devices: str | None = None) -> pathlib.Path:
    text = f"""schema = 1
[agent]
id = "gw-bench"
location = "acme/stuttgart/paint/line-2"
[uplink]
url = "{cloud['url']}"
source_address = "127.0.0.1"
ca = "{cloud['ca']}"
certificate = "{cloud['certificate']}"
private_key = "{cloud['private_key']}"
{uplink}
[buffer]
directory = "{directory}/buffer"
max_size = "2GiB"
"""
    text += devices or ""
    for device in range(0 if devices else DEVICES):
        text += f"""[[device]]
name = "device-{device}"
protocol = "modbus-tcp"
address = "127.0.0.1:{PORT + device}"
poll = "{poll}"
{device_keys}
"""
        for register in range(REGISTERS):
            text += f"""[[device.signal]]
name = "register_{register}"
register = "holding:{register}"
type = "u16"
"""
    path = directory / "lineside.toml"
    path.write_text(text)
    return path


class Process:
    """A child that ends when its standard input does."""

    def __init__(self, command: list[str], **options):
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
        self.first_line = self.child.stdout.readline()

    def ask(self, command: str) -> dict:
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def end(self) -> str:
        return self.child.communicate("")[0]


def start_plant() -> Process:
    server = ROOT / "tests/peers/bin/libmodbus_server"
    return Process([str(server), str(PORT), str(DEVICES), "moving"])


def cpu_seconds(pid: int) -> float:
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def rss_mib(pid: int) -> tuple[float, float]:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return tuple(int(re.search(rf"{key}:\s+(\d+)", status)[1]) / 1024 for key in ("VmRSS", "VmHWM"))


def wire_bytes(cloud_port: int) -> tuple[int, int]:
    """TCP payload of the uplink's connection, TLS included: sent and received by the daemon."""
    text = subprocess.run(["ss", "-tinH", "dport", "=", str(cloud_port)], capture_output=True, text=True, check=True).stdout
    count = lambda key: sum(int(n) for n in re.findall(rf"\b{key}:(\d+)", text))
    return count("bytes_sent"), count("bytes_received")


def disk_bytes(pid: int) -> int:
    return int(re.search(r"^write_bytes: (\d+)", pathlib.Path(f"/proc/{pid}/io").read_text(), re.M)[1])


class Bench:
    """Devices and receiver; `fill` puts a backlog into the buffer, `run` starts the daemon."""

    def __init__(self, binaries: tuple[pathlib.Path, pathlib.Path], poll: str, plant: "Process | None" = None, **keys: str):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="lineside-bench-"))
        self.lineside, ingest = binaries
        self.plant = plant or start_plant()
        self.ingest = Process([str(ingest), str(self.directory)])
        self.cloud = json.loads(self.ingest.first_line)
        self.config = configuration(self.directory, self.cloud, poll, **keys)
        self.daemon = None

    def fill(self, readings: int) -> dict:
        example = self.lineside.with_name("examples") / "backlog"
        command = [str(example), str(self.config), str(readings)]
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)

    def run(self) -> "Bench":
        self.started = time.time()
        log = open(self.directory / "log", "w")
        self.daemon = subprocess.Popen([str(self.lineside), "--config", str(self.config), "run"], stderr=log)
        return self

    def restart_plant(self) -> None:
        """Down for longer than a poll, so that every device is missed and found again."""
        self.plant.end()
        time.sleep(1.5)
        self.plant = start_plant()

    def status(self) -> dict:
        command = [str(self.lineside), "--config", str(self.config), "status", "--json"]
        for _ in range(100):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                return json.loads(done.stdout)
            time.sleep(0.05)
        sys.exit(f"the daemon does not answer; its log is {self.directory}/log")

    def readings(self) -> dict:
        return next(lane for lane in self.status()["lanes"] if lane["name"] == "readings")

    def sample(self) -> dict:
        pid = self.daemon.pid
        sent, received = wire_bytes(int(self.cloud["url"].rsplit(":", 1)[1]))
        status = self.status()
        return {
            "at": time.monotonic(), "cpu": cpu_seconds(pid), "sent": sent, "received": received, "disk": disk_bytes(pid),
            "delivered": next(lane["delivered"] for lane in status["lanes"] if lane["name"] == "readings"),
            "polls": sum(device["polls"] for device in status["devices"]),
            "overruns": sum(device["overruns"] for device in status["devices"]),
        }

    def end(self) -> dict:
        rss, peak = rss_mib(self.daemon.pid)
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(30)
        command = [str(self.lineside), "--config", str(self.config), "status", "--json"]
        ledger = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
        cloud = json.loads(self.ingest.end())
        self.plant.end()
        lane = next(lane for lane in ledger["lanes"] if lane["name"] == "readings")
        accounted = lane["delivered"] + lane["pending"] + lane["quarantined"] + lane["dropped"]
        if lane["collected"] != accounted or cloud["readings"] < lane["delivered"]:
            sys.exit(f"THE LEDGER DOES NOT ADD UP: {lane}, the cloud holds {cloud['readings']}; see {self.directory}")
        shutil.rmtree(self.directory)
        return {"rss": rss, "peak": peak, "lane": lane, "cloud": cloud}


def show(title: str, rows: list[tuple[str, str]]) -> None:
    print(f"\n{title}\n\n| what | figure |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")
    sys.stdout.flush()

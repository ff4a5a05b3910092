#!/usr/bin/env python3
"""What the load tester shows: its page in a browser, and all of it against a broker process.

    tests/load/run.py --broker target/debug/ringmq --loadtest target/debug/loadtest [--keep FOLDER]

Every built-in scenario runs at small size by the program, over tcp, tls and ws; a report is opened in headless
Chromium, which is to paint its charts, ask for nothing else, and print it; two runs are compared, and ringmq is put beside
mosquitto. With --keep the page, its screenshot and its print stay in FOLDER.
"""

import argparse
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib

PATIENCE_S = 120

# The options that make a scenario small.
SMALL = {
    "idle": "-n 40 --hold 0.3 --every 4 --reconnect",
    "pairs": "-p 6 -s 6 -t 6 --rate 600 -d 0.5 --warm-up 0",
    "fan-in": "-p 20 -t 20 --rate 600 -d 0.5 --warm-up 0",
    "fan-out": "-s 30 --rate 40 -d 0.5 --warm-up 0",
    "shared": "-p 10 -t 10 --rate 600 -d 0.5 --warm-up 0",
    "telemetry": "-p 50 -t 50 --rate 400 -d 0.5 --warm-up 0 --late-ms 60000",
    "command": "-p 3 -s 20 -t 20 --rate 400 -d 0.5 --warm-up 0",
    "dashboards": "-n 12 -t 60 -a 5",
    "storm": "-n 40 --hold 0.1",
    "churn": "-n 20 --rate 50 -d 0.5",
    "soak": "-p 10 -s 10 -t 10 --rate 400 -d 1 --warm-up 0 --cut-rate 10 --away 0.1",
}


class Broker:
    """A broker of its own folder; its listeners as URLs by scheme."""

    def __init__(self, program, folder):
        self.data = os.path.join(folder, "data")
        words = [program, "run", "--shards", "2", "--data", self.data]
        self.urls = {}
        for scheme in ("tcp", "tls", "ws"):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.urls[scheme] = f"{scheme}://127.0.0.1:{free.getsockname()[1]}"
            words += ["--listen", self.urls[scheme]]
        self.log = open(os.path.join(folder, "broker.log"), "w")
        # In its own folder: no configuration of another broker is found there.
        self.process = subprocess.Popen(words, stdout=self.log, stderr=self.log, cwd=folder)
        for url in self.urls.values():
            host, port = url.split("//")[1].split(":")
            until = time.monotonic() + PATIENCE_S
            while True:
                try:
                    socket.create_connection((host, int(port)), 1).close()
                    break
                except OSError:
                    assert time.monotonic() < until, f"{url} is not open"
                    assert self.process.poll() is None, "the broker has ended"
                    time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self.log.close()


def load(program, words):
    """A run that is to be in order; its figures."""
    run = subprocess.run(
        [program, *words, "--json"], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert run.returncode == 0, f"loadtest {' '.join(words)}:\n{run.stdout}{run.stderr}"
    return json.loads(run.stdout)


def scenarios(program, broker):
    known = subprocess.run([program, "scenarios"], capture_output=True, text=True).stdout
    names = [line.split()[0] for line in known.splitlines()]
    assert sorted(names) == sorted(SMALL), f"the scenarios are {names}"
    for scheme, url in broker.urls.items():
        words = ["--broker", url] + (["--insecure"] if scheme == "tls" else [])
        for name in names:
            figures = load(program, ["run", name, *SMALL[name].split(), *words])
            assert figures["transport"] == scheme, figures
        print(f"  {len(names)} scenarios over {scheme}: nothing lost, doubled or reordered")


def report(program, broker, folder):
    page = os.path.join(folder, "report.html")
    words = "run pairs -p 50 -s 50 -t 50 --rate 1500 -d 8 --warm-up 1".split()
    words += ["--broker", broker.urls["tcp"], "--report", page]
    words += ["--node", broker.data]
    figures = load(program, words)
    assert figures["broker_cpu_us_per_delivery"] > 0, figures
    assert min(figures["timeline"]["broker_bytes"]) > 1e6, figures
    text = open(page).read()
    outside = re.findall(r"""(?:src|href)=["']?(?!#|data:)[^"'> ]+|url\((?!#|data:)|@import""", text)
    assert not outside, f"the page wants {outside}"
    shot, paper = os.path.join(folder, "report.png"), os.path.join(folder, "report.pdf")
    # Nothing can be reached: what the page needs is in it.
    words = ["--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1100,2400"]
    chromium([*words, f"--screenshot={shot}"], page)
    dom = chromium([*words, "--dump-dom"], page)
    for part in ("99 % latency", f"{figures['delivered']:,}", "resident memory"):
        assert part in dom, f"`{part}` is not on the page"
    colours = painted(shot)
    assert len(colours) > 16, f"the page is painted in {len(colours)} colours"
    chromium([f"--print-to-pdf={paper}", "--no-pdf-header-footer"], page)
    pages = len(re.findall(rb"/Type\s*/Page\b", open(paper, "rb").read()))
    assert 1 <= pages <= 6, f"it prints on {pages} pages"
    print(f"  the page: painted by Chromium in {len(colours)} colours, printed on {pages} pages")


def chromium(words, page):
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        flags += ["--disable-dev-shm-usage", "--disable-background-networking"]
        run = subprocess.run(
            ["chromium", *flags, f"--user-data-dir={profile}", *words, f"file://{page}"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    assert run.returncode == 0, run.stderr
    return run.stdout


def painted(path):
    """The colours of a picture (PNG of 8 bits, RGB or RGBA) and how often each is there."""
    data, at, packed, size = open(path, "rb").read(), 8, b"", None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            size = {2: 3, 6: 4}[colour]
            assert depth == 8
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    raw, stride, colours = zlib.decompress(packed), width * size, {}
    before = bytearray(stride)
    for row in range(height):
        start = row * (stride + 1)
        line = bytearray(raw[start + 1 : start + 1 + stride])
        unfilter(raw[start], line, before, size)
        for pixel in range(0, stride, size * 4):
            colour = bytes(line[pixel : pixel + 3])
            colours[colour] = colours.get(colour, 0) + 1
        before = line
    return colours


def unfilter(kind, line, before, size):
    """The filters of PNG, section 9.2 of its specification."""
    if kind == 0:
        return
    for i in range(len(line)):
        left = line[i - size] if i >= size else 0
        up = before[i]
        corner = before[i - size] if i >= size else 0
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = up
        elif kind == 3:
            guess = (left + up) // 2
        else:
            distance = left + up - corner
            guess = min((left, up, corner), key=lambda near: abs(distance - near))
        line[i] = (line[i] + guess) & 255


def compare(program, broker, folder):
    files = []
    for name, rate in (("a", 300), ("b", 600)):
        words = f"run pairs -p 4 -s 4 -t 4 --rate {rate} -d 1 --warm-up 0".split()
        figures = load(program, words + ["--broker", broker.urls["tcp"]])
        files.append(os.path.join(folder, f"{name}.json"))
        with open(files[-1], "w") as file:
            json.dump(figures, file)
    run = subprocess.run([program, "--compare", *files], capture_output=True, text=True)
    assert run.returncode == 0 and "+100" in run.stdout, run.stdout + run.stderr
    print("  two runs compared: twice the rate is told as +100 %")


def beside_others(binaries):
    """The table of brokers, of loads that are too short to mean anything: it has a row for each."""
    words = ["--seconds", "0.3", "--connections", "100", "--binaries", binaries]
    words += ["--only", "ringmq", "--only", "mosquitto"]
    words += ["--load", "100 pairs, QoS 1", "--load", "idle, one subscription"]
    table = os.path.join(os.path.dirname(__file__), "..", "..", "benches", "compare")
    run = subprocess.run([sys.executable, table, *words], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    for broker in ("ringmq", "mosquitto"):
        flow = rf"\| 100 pairs, QoS 1 \| {broker} \| [\d.]+ \| [\d.]+ \| [\d,]+ \|"
        idle = rf"\| idle, one subscription \| {broker} \|  \|  \|  \| -?[\d,]+ \|"
        assert re.search(flow, run.stdout) and re.search(idle, run.stdout), run.stdout + run.stderr
    print("  ringmq beside mosquitto: CPU a delivery, 99 %, throughput, bytes a connection of both")


def doctor(program):
    few = subprocess.run([program, "doctor", "-n", "10"], capture_output=True, text=True)
    many = subprocess.run([program, "doctor", "-n", "900000000"], capture_output=True, text=True)
    assert few.returncode == 0 and many.returncode == 1, few.stdout + many.stdout
    assert "ulimit" in many.stdout or "sysctl" in many.stdout, many.stdout
    print("  doctor: ten connections fit, 900 million do not, and it says what raises it")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broker", required=True)
    parser.add_argument("--loadtest", required=True)
    parser.add_argument("--keep", help="leave the page and its pictures here")
    options = parser.parse_args()
    program = os.path.abspath(options.loadtest)
    folder = tempfile.mkdtemp()
    broker = Broker(os.path.abspath(options.broker), folder)
    try:
        scenarios(program, broker)
        report(program, broker, folder)
        compare(program, broker, folder)
        doctor(program)
        beside_others(os.path.dirname(program))
    finally:
        broker.stop()
        if options.keep:
            os.makedirs(options.keep, exist_ok=True)
            for name in ("report.html", "report.png", "report.pdf"):
                if os.path.exists(os.path.join(folder, name)):
                    shutil.copy(os.path.join(folder, name), options.keep)
        shutil.rmtree(folder, ignore_errors=True)
    print("6 passed, 0 failed")


if __name__ == "__main__":
    sys.exit(main())

"""The server under load on loopback: requests a second and the time of an answer, beside servers that are not this one.

    python bench/serve.py [SECONDS] [SYSTEM ...]        (default 30, all of picdesk plain engine litserve)

Serves the newest training job below `outputs` (`make demo` leaves one). Cached: twenty texts over and over. Uncached: no text
twice. Pictures: no picture twice, sent as files. Clients are coroutines in one process on the same machine, each with a
connection of its own that is kept. Processor time an answer is told beside wall time: it does not depend on what else the machine
does. Systems are measured in turn, cell by cell, so that what else the machine does meets all of
them. Memory is that of the server's process (VmRSS), after the first cell and after the last.
"""

import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

from kept import RESULTS, machine, machines, merge_results
from serve_load import Body, load

PROJECT = Path(__file__).resolve().parents[1]
CLIENTS = (1, 8, 64)
SAID = "flag ship harbour apple violin storm penguin lamp star bridge cat engine tree mountain clock hat bird boat"
WORDS = SAID.split(" ")
PORTS = {"picdesk": 8711, "plain": 8712, "engine": 8713, "litserve": 8714}
ASKS = ("uncached", "cached", "picture")


def text_body(text: str) -> Body:
    return "/search", "application/json", json.dumps({"text": text}).encode()


def uncached_body(number: int) -> Body:
    """Six words, and a number that makes the text a new one."""
    own = random.Random(number)
    return text_body(" ".join([*own.choices(WORDS, k=5), str(number)]))


def cached_body(number: int) -> Body:
    return text_body(f"a {WORDS[number % len(WORDS)]} at sea")


def pictures() -> Callable[[int], Body]:
    """Drawings of the demo as JPEG; bytes behind their end make each another file."""
    table = pq.read_table(PROJECT / "data" / "demo.parquet").slice(0, 64)
    column = next(
        name for name in table.column_names if str(table.schema.field(name).type) in ("binary", "large_binary")
    )
    made = []
    for value in table[column].to_pylist():
        stream = io.BytesIO()
        Image.open(io.BytesIO(value)).convert("RGB").save(stream, "JPEG", quality=88)
        made.append(stream.getvalue())

    def body(number: int) -> Body:
        content = made[number % len(made)] + number.to_bytes(8, "big")
        head = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        return "/search/image", "multipart/form-data; boundary=x", head + content + b"\r\n--x--\r\n"

    return body


def command(system: str) -> list[str]:
    if system == "picdesk":
        own = ["ckpt=latest", "serve.rate=0", f"serve.port={PORTS[system]}", "logger=none"]
        return [sys.executable, str(PROJECT / "serve.py"), *own]
    python = os.environ.get("PICDESK_LITSERVE_PYTHON", "") if system == "litserve" else sys.executable
    return [python, str(PROJECT / "bench" / "serve_rivals.py"), system, str(PORTS[system])]


@contextlib.contextmanager
def start_server(system: str) -> Iterator[tuple[int, float]]:
    """A server in a process group of its own: its process number, and the seconds from the command until it answers."""
    begun = time.perf_counter()
    process = subprocess.Popen(command(system), cwd=PROJECT, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        while not answers(system):
            assert process.poll() is None, f"{system} ended"
            time.sleep(0.02)
        yield process.pid, time.perf_counter() - begun
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(system: str) -> bool:
    path, kind, body = text_body("ready")
    asked = urllib.request.Request(f"http://127.0.0.1:{PORTS[system]}{path}", body, {"Content-Type": kind})
    try:
        return bool(urllib.request.urlopen(asked, timeout=60).status == 200)
    except OSError:
        return False


def cpu(pid: int) -> float:
    """Seconds of processor time that a server has had, with the processes that it started."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12]) if int(fields[2]) == pid else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """MB of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def measure_cells(seconds: float, systems: list[str]) -> dict[str, dict[str, object]]:
    """All cells: each load on all systems before the next load."""
    bodies = {"uncached": uncached_body, "cached": cached_body, "picture": pictures()}
    rows: dict[str, dict[str, object]] = {}
    with contextlib.ExitStack() as stack:
        live = {name: stack.enter_context(start_server(name)) for name in systems}
        first: dict[str, float] = {}
        start = 0
        for asks in ASKS:
            for clients in CLIENTS:
                for name in systems if asks == "uncached" else systems[:1]:
                    start += 10_000_000
                    load(PORTS[name], clients, min(1.0, seconds / 5), bodies[asks], start + 9_000_000)
                    before = cpu(live[name][0])
                    cell = load(PORTS[name], clients, seconds, bodies[asks], start)
                    spent = 1000 * (cpu(live[name][0]) - before) / max(len(cell.seconds), 1)
                    first.setdefault(name, memory(live[name][0]))
                    row = {"system": name, "asks": asks, "clients": clients, **cell.row(), "cpu_ms": round(spent, 2)}
                    row["machine"] = machine()
                    rows[f"{name} {asks} {clients}"] = row
                    print(json.dumps(row), flush=True)
        for name in systems:
            mb = {"mb_first": round(first[name]), "mb_last": round(memory(live[name][0]))}
            rows[f"{name} process"] = {"system": name, "ready_s": round(live[name][1], 1), **mb, "machine": machine()}
    return rows


HEAD = """# The server under load

`python bench/serve.py`: the demo's 2,675 pictures, lite towers, the 20 best of each question; clients on the same machine.
{machines}.

| system | asks | clients | requests/s | p50 ms | p95 ms | p99 ms | CPU ms an answer | errors |
|---|---|---|---|---|---|---|---|---|
{cells}

Uncached texts, requests a second: picdesk over the other.

| other | {clients} |
|---{dashes}|
{ratios}

The same in processor time an answer: the other over picdesk.

| other | {clients} |
|---{dashes}|
{costs}

| process | ready after s | MB after the first load | MB after the last |
|---|---|---|---|
{processes}
"""


def table(rows: dict[str, dict[str, object]]) -> str:
    """The page of the results."""
    cells = [row for row in rows.values() if "asks" in row]
    live = [row for row in rows.values() if "ready_s" in row]
    others = dict.fromkeys(str(row["system"]) for row in cells if row["system"] != "picdesk")
    return HEAD.format(
        machines=machines(rows.values()),
        cells=lines(cells, "system", "asks", "clients", "rps", "p50", "p95", "p99", "cpu_ms", "errors"),
        clients=" | ".join(f"{clients} clients" for clients in CLIENTS),
        dashes="|---" * len(CLIENTS),
        ratios="\n".join(f"| {name} | {' | '.join(ratio(rows, name, n, 'rps') for n in CLIENTS)} |" for name in others),
        costs="\n".join(
            f"| {name} | {' | '.join(ratio(rows, name, n, 'cpu_ms') for n in CLIENTS)} |" for name in others
        ),
        processes=lines(live, "system", "ready_s", "mb_first", "mb_last"),
    )


def lines(rows: list[dict[str, object]], *names: str) -> str:
    """Rows of a table."""
    return "\n".join(f"| {' | '.join(str(row[name]) for name in names)} |" for row in rows)


def ratio(rows: dict[str, dict[str, object]], name: str, clients: int, what: str) -> str:
    """Ours over theirs in requests a second, theirs over ours in what an answer costs."""
    ours, theirs = rows.get(f"picdesk uncached {clients}"), rows.get(f"{name} uncached {clients}")
    if not ours or not theirs:
        return ""
    much = float(str(ours[what])) / float(str(theirs[what]))
    return f"{much if what == 'rps' else 1 / much:.1f}"


def main() -> None:
    given = sys.argv[1:]
    seconds = float(given.pop(0)) if given and given[0].replace(".", "").isdigit() else 30.0
    usual = ["picdesk", "plain", "engine", *(["litserve"] if os.environ.get("PICDESK_LITSERVE_PYTHON") else [])]
    rows = merge_results("serve", measure_cells(seconds, given or usual))
    (RESULTS / "serve.md").write_text(table({key: dict(row) for key, row in rows.items()}))
    print((RESULTS / "serve.md").read_text())


if __name__ == "__main__":
    main()

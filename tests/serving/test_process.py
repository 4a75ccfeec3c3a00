"""The process: TERM and HUP under load, kill and start again, slow and idle clients, mistakes in one line."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.serving.conftest import tiny
from tests.serving.running import load, running

slow = pytest.mark.slow


def overrides(folder: Path, pictures: int = 40) -> list[str]:
    own = ["plugins=[tests]", f"paths.outputs={folder / 'out'}", f"paths.store={folder / 'store'}", "serve.rate=0"]
    return [*tiny(folder, pictures), *own]


@slow
def test_term_under_load_loses_no_request_half_way(tmp_path: Path) -> None:
    with running(overrides(tmp_path)) as server:
        stop = threading.Event()
        threads, met = load(server, stop, 16, lambda client, turn: {"text": f"red {client} {turn}", "top_k": 5})
        time.sleep(2)
        server.signal(signal.SIGTERM)
        asked = time.monotonic()
        assert server.process.wait(30) == 0
        took = time.monotonic() - asked
        stop.set()
        for thread in threads:
            thread.join()
        assert met.broken == []
        assert {status for status, _ in met.whole} == {200}
        assert all(json.loads(body)["answers"][0]["results"] for _, body in met.whole)
        assert met.refused == 16, "each client saw the end as a refusal to connect"
        assert len(met.whole) >= 16, "each client was at work"
        assert took < 12
    assert any("every question answered" in line for line in server.said)
    assert not any("Traceback" in line for line in server.said), "".join(server.said)


@slow
def test_an_index_replaced_under_load_gives_no_error_and_answers_switch_whole(tmp_path: Path) -> None:
    def build(pictures: int) -> None:
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        made = [
            *(given for given in overrides(tmp_path, pictures) if not given.startswith("serve.")),
            f"index_dir={tmp_path / f'index{pictures}'}",
            "task=index_build",
            "logger=none",
        ]
        subprocess.run([sys.executable, "retrieve.py", *made], cwd=PROJECT, check=True, capture_output=True)

    build(20)
    build(30)
    link = tmp_path / "now"
    link.symlink_to("index20")
    own = ["plugins=[tests]", f"paths.outputs={tmp_path / 'out'}", f"paths.store={tmp_path / 'store'}", "serve.rate=0"]
    with running([f"index_dir={link}", *own]) as server:
        first = server.search("red", top_k=40)
        stop = threading.Event()
        threads, met = load(server, stop, 8, lambda client, turn: {"texts": [f"{turn}", "red"], "top_k": 40})
        for turn in range(4):
            time.sleep(1)
            other = tmp_path / "next"
            other.symlink_to("index30" if turn % 2 == 0 else "index20")
            other.replace(link)
            server.signal(signal.SIGHUP) if turn % 2 == 0 else server.ask("POST", "/reload")
        time.sleep(2)
        stop.set()
        for thread in threads:
            thread.join()
        assert met.broken == []
        assert {status for status, _ in met.whole} == {200}
        sizes = set()
        for _, body in met.whole:
            one, two = json.loads(body)["answers"]
            assert one["fingerprint"] == two["fingerprint"], "both of one generation"
            assert len(one["results"]) == len(two["results"])
            sizes.add(len(one["results"]))
        assert sizes == {20, 30}
        assert server.search("red", top_k=40) == first, "back at the first index"


@slow
def test_killed_and_started_again_it_gives_the_same_answers(tmp_path: Path) -> None:
    texts = [f"warm blue {i}" for i in range(5)]
    found = []
    for _ in range(2):
        with running(overrides(tmp_path)) as server:
            found.append([server.search(text) for text in texts])
            server.signal(signal.SIGKILL)
            assert server.process.wait(10) == -signal.SIGKILL
    assert found[0] == found[1]


@slow
def test_idle_and_slow_clients_do_not_keep_others_waiting(tmp_path: Path) -> None:
    with running([*overrides(tmp_path), "serve.timeout_s=2"]) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
        half = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        half.sendall(
            b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{"
        )
        begun = time.monotonic()
        assert all(server.search(f"red {i}")["results"] for i in range(20))
        assert time.monotonic() - begun < 10
        assert b" 408 " in half.recv(200), "a body that does not come is not waited for"
        garbage = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        garbage.sendall(b"\x16\x03\x01\x00\x00hello\r\n\r\n")
        assert b" 400 " in garbage.recv(200)
        for path in (b"/images/%00", b"/images/" + b"a" * 20_000, b"/../../etc/passwd"):
            raw = socket.create_connection(("127.0.0.1", server.port), timeout=20)
            raw.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert raw.recv(64).split()[1] in (b"404", b"400", b"414"), path
            raw.close()
        assert server.ask()[0] == 200
        idle[0].settimeout(20)
        assert idle[0].recv(1) == b"", "who says nothing is not kept"
        for one in (*idle, half, garbage):
            one.close()
        server.signal(signal.SIGTERM)
        assert server.process.wait(30) == 0


@slow
def test_mistakes_are_one_line_and_status_2(tmp_path: Path) -> None:
    for wrong, told in (
        (["serve.host=0.0.0.0"], "serve.token_file=FILE"),
        (["ckpt=nowhere"], "ckpt=nowhere"),
        (["serve.prot=1"], "did you mean task.port"),
        (["serve.port=abc"], "picdesk: serve.port=abc: a whole number is wanted"),
        (["serve.host=[a]"], "picdesk: serve.host=['a']: a list, where a text belongs"),
        (["serve.examples=/nowhere.txt", "serve.port=0"], "picdesk: serve.examples=/nowhere.txt: no such file"),
        (["top_k=0"], "picdesk: top_k=0: at least 1 is needed"),
        (["run_depth=500"], "picdesk: run_depth=500: more than serve.most=200 lists"),
        (["encode.max_pixels=-1"], "picdesk: encode.max_pixels=-1: a number of pixels is wanted, 1 at least"),
    ):
        command = [sys.executable, "serve.py", *overrides(tmp_path), *wrong, "logger=none"]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=200)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert told in done.stderr.splitlines()[-1]

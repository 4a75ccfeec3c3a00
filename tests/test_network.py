"""A job that may not use the network cannot, whichever library asks; secrets go nowhere in clear."""

import os
import socket
import urllib.request
from pathlib import Path

import pytest

from picdesk import hub, network
from picdesk.errors import ConfigError, UserError
from tests import doors


def test_closed_means_closed_for_every_library() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with network.no_network():
            assert network.is_closed()
            with pytest.raises(ConfigError, match="network=true"):
                socket.create_connection(("127.0.0.1", port), timeout=1)
            with pytest.raises((ConfigError, OSError)):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1)
            with pytest.raises(ConfigError, match="network=true"):
                socket.getaddrinfo("example.invalid", 80)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram, pytest.raises(ConfigError):
                datagram.sendto(b"x", ("127.0.0.1", port))
        assert not network.is_closed()
        socket.create_connection(("127.0.0.1", port), timeout=1).close()


def test_processes_of_one_machine_still_talk(tmp_path: Path) -> None:
    with network.no_network(), socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "s"))
        server.listen()
        client.connect(str(tmp_path / "s"))


def test_libraries_of_the_hub_are_told_and_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    with network.no_network(), network.no_network():
        assert {os.environ[name] for name in network.OFFLINE} == {"1"}
    assert os.environ["HF_HUB_OFFLINE"] == "0"
    assert "TRANSFORMERS_OFFLINE" not in os.environ


def test_what_wanted_the_network_is_said() -> None:
    network.need("anything")
    with network.no_network(), pytest.raises(UserError, match=r"backbone\.model=a/b: .*network=true"):
        hub.download("a/b", "backbone.model=a/b", lambda names: list(names), "weights", "backbone.model=FOLDER")


SAFE = (
    "https://api.example/v1",
    "http://localhost:8000/v1",
    "http://127.0.0.1:1/v1",
    "http://[::1]:1",
    "http://127.8.9.1/",
)
CLEAR = (
    "http://api.example/v1",
    "http://10.0.0.4:19530",
    "tcp://10.0.0.4:19530",
    "http://localhost.example/v1",
    "http://127.0.0.1.example/",
    "http://127.0.0.1@api.example/",
    "http://0.0.0.0/",
    "HTTP://API.EXAMPLE",
    "api.example:80",
)


@pytest.mark.parametrize("address", SAFE)
def test_a_secret_goes_to_https_or_to_this_machine(address: str) -> None:
    network.check_secret(address, "language_model.base_url", "OPENAI_API_KEY")


@pytest.mark.parametrize("address", CLEAR)
def test_a_secret_does_not_go_in_clear(address: str) -> None:
    with pytest.raises(ConfigError, match=r"language_model\.base_url=.*OPENAI_API_KEY would be sent in clear"):
        network.check_secret(address, "language_model.base_url", "OPENAI_API_KEY")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("language_model.base_url", "https://desk:S3CRET@llm.example/v1"),
        ("language_model.base_url", "http://S3CRET@llm.example/v1"),
        ("index.uri", "grpc://desk:S3CRET@milvus:19530"),
        ("hydra.sweeper.storage", "postgresql+psycopg://desk:S3CRET@db/studies"),
        ("", {"index": {"params": [{"uri": "x,https://:S3CRET@host"}]}}),
        ("index.token", "S3CRET"),
        ("", {"index": {"token": "S3CRET"}}),
    ],
)
def test_no_secret_is_written_down(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=r"for others to read.*environment") as told:
        network.refuse_secrets(value, key)
    assert "S3CRET" not in str(told.value)


def test_what_is_no_secret_may_stand() -> None:
    plain = {
        "index": {"token": "", "uri": "abfss://container@account.dfs.core.windows.net/x", "max_tokens": "9"},
        "data": {"more_columns": {"token": "column"}, "source": "mail a@b.example, see https://example.org/@a:b@c"},
        "language_model": {"base_url": "${oc.env:A}", "key_variable": "OPENAI_API_KEY"},
        "task": {"query": "https://a:b@c.example", "token_file": "desk_token"},
    }
    network.refuse_secrets(plain, "", ("query",))
    assert network.without_password("see https://a:b@c/d or http://e@f") == "see https://***@c/d or http://***@f"


def test_a_password_is_refused_before_anything_is_written(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ran = doors.run(capfd, tmp_path / "out", "evaluate", "language_model.base_url=https://desk:S3CRET@llm.example/v1")
    assert (ran.status, list(tmp_path.rglob("*"))) == (2, [])
    assert "language_model.base_url=https://***@llm.example/v1: the password would stand" in ran.err


def test_one_that_an_option_or_the_environment_brings_is_refused_too(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_PLACE", "https://desk:S3CRET@llm.example/v1")
    ran = doors.run(capfd, tmp_path / "out", "evaluate", "language_model.base_url=${oc.env:A_PLACE}")
    assert ran.status == 2
    assert "language_model.base_url=https://***@llm.example/v1: the password would stand" in ran.err
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"S3CRET" in path.read_bytes()]

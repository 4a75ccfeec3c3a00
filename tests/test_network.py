"""A job that may not use the network cannot, whichever library asks; secrets go nowhere in clear."""

import os
import socket
import urllib.request
from pathlib import Path

import pytest

from picdesk import hub, network
from picdesk.errors import ConfigError, UserError


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

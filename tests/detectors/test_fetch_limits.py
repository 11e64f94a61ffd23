"""Fetching from the web ends in time, whatever a server does, and says what is wrong with a URL."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from wayside.detectors.artifacts.fetching import FetchSettings
from wayside.detectors.artifacts.folder import MANIFEST
from wayside.detectors.artifacts.locations import open_artifact
from wayside.eventing.errors import ConfigurationError

from .artifact_server import Site, artifact_site, continuing, dribbling_head, redirect, unannounced

HASTY = FetchSettings(environ={}, timeout_s=0.2, slowest_bytes_per_s=1 << 40, tries=1)


@pytest.fixture
def site() -> Iterator[Site]:
    with artifact_site() as made:
        yield made


def refusal(uri: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        open_artifact(uri, HASTY)
    return str(caught.value)


@pytest.mark.parametrize("fault", [dribbling_head, continuing, unannounced])
def test_a_limit_holds_in_whatever_is_read(fault: Callable[..., None], site: Site) -> None:
    site.faults[f"/a/{MANIFEST}"] = fault
    started = time.monotonic()
    assert "not there within 0.2 s" in refusal(f"{site.url}/a")
    assert time.monotonic() - started < 3


def test_a_limit_holds_while_hands_are_shaken() -> None:
    """The length of a first TLS record of 16 KiB, and then a byte now and then."""
    done = threading.Event()

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
            while not done.wait(0.02):
                connection.sendall(b"\x03")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer, args=(listener,))
        server.start()
        started = time.monotonic()
        told = refusal(f"https://127.0.0.1:{listener.getsockname()[1]}/a")
        lasted_s = time.monotonic() - started
        done.set()
        server.join()
    assert "not there within 0.2 s" in told
    assert lasted_s < 3


@pytest.mark.parametrize("folder", ["f\u00f6l der", "f%C3%B6l%20der"])
def test_a_path_is_escaped_once(folder: str, site: Site) -> None:
    assert "there is no" in refusal(f"{site.url}/{folder}?a b")
    assert site.paths == [f"/f%C3%B6l%20der/{MANIFEST}?a%20b"]


@pytest.mark.parametrize("to", ["http://h:99999/x", "http://[::1/x", "http://h\x7f/x"])
def test_a_redirect_to_what_is_no_url_is_told_as_that(to: str, site: Site) -> None:
    site.faults[f"/a/{MANIFEST}"] = redirect(to)
    assert "is no URL that can be asked for" in refusal(f"{site.url}/a")


def test_a_host_that_cannot_be_is_told_as_that() -> None:
    assert "is no URL that can be asked for" in refusal(f"http://{'a' * 70}.example/x")

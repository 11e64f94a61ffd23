"""Events over TLS: whom the CA file vouches for, and what happens when it is replaced."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from emit_stage import HOST, accepting, an_event, emitting

from wayside.eventing.errors import ConfigurationError
from wayside.logger.emit.log_sink import log_sink
from wayside.logger.settings import Delivery


@dataclass(frozen=True)
class Server:
    """A certificate that signs itself, and its key."""

    cert: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context


def make(folder: Path, name: str, address: str = f"IP:{HOST}") -> Server:
    made = Server(folder / f"{name}.crt", folder / f"{name}.key")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName={address}", "-days", "1"]
    subprocess.run([*new, *names, "-keyout", str(made.key), "-out", str(made.cert)], check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Server, Server, Server]:
    folder = tmp_path_factory.mktemp("tls")
    return make(folder, "first"), make(folder, "second"), make(folder, "elsewhere", "DNS:elsewhere")


async def test_many_events_share_one_handshake(servers: tuple[Server, ...]) -> None:
    sink = accepting(servers[0].context())
    async with sink.listening(), emitting(sink.url, workers=1, ca_file=servers[0].cert) as stage:
        stage.offer(*map(an_event, range(50)), an_event(50, b"x" * 300_000))
        await stage.until(lambda: stage.sent == 51)
        assert sink.ids == set(range(51))
        assert sink.connections == 1
        tls = next(iter(sink.writers)).get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(("which", "words"), [(1, "not trusted"), (2, "not trusted")])
async def test_a_sink_that_the_ca_file_does_not_vouch_for_is_sent_nothing(
    servers: tuple[Server, ...], which: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Another's certificate; and one of the CA file's, for another name."""
    sink = accepting(servers[which].context())
    trusted = servers[2].cert if which == 2 else servers[0].cert
    async with sink.listening(), emitting(sink.url, ca_file=trusted) as stage:
        stage.offer(an_event(0))
        await stage.until(lambda: stage.counts.attempts["unavailable"] > 0)
        assert sink.posts == []
    assert words in caplog.text


async def test_verification_can_be_skipped(servers: tuple[Server, ...], tmp_path: Path) -> None:
    sink = accepting(servers[2].context())
    absent = tmp_path / "absent.crt"
    async with sink.listening(), emitting(sink.url, ca_file=absent, tls_skip_verify=True) as stage:
        stage.offer(an_event(0))
        await stage.until(lambda: stage.sent == 1)


async def test_a_ca_file_that_is_absent_means_the_systems_trust(servers: tuple[Server, ...], tmp_path: Path) -> None:
    sink = accepting(servers[0].context())
    async with sink.listening(), emitting(sink.url, ca_file=tmp_path / "absent.crt") as stage:
        stage.offer(an_event(0))
        await stage.until(lambda: stage.counts.attempts["unavailable"] > 0)
        assert sink.posts == []


async def test_a_ca_file_that_is_replaced_is_read_again(
    servers: tuple[Server, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca_file = tmp_path / "ca.crt"
    ca_file.write_bytes(servers[0].cert.read_bytes())
    sink = accepting(servers[1].context())
    async with sink.listening(), emitting(sink.url, ca_file=ca_file) as stage:
        stage.offer(an_event(0))
        await stage.until(lambda: stage.counts.attempts["unavailable"] > 0)
        ca_file.write_text("half of a")
        await stage.until(lambda: "what was read before is trusted" in caplog.text)
        ca_file.write_bytes(servers[1].cert.read_bytes())
        await stage.until(lambda: stage.sent == 1)


async def test_a_sink_that_speaks_no_tls_is_told(servers: tuple[Server, ...], caplog: pytest.LogCaptureFixture) -> None:
    sink = accepting()
    async with sink.listening():
        url = sink.url.replace("http:", "https:")
        async with emitting(url, ca_file=servers[0].cert, timeout_s=0.3) as stage:
            stage.offer(an_event(0))
            await stage.until(lambda: stage.counts.attempts["unavailable"] > 0)
    assert "https://" in caplog.text


def test_a_ca_file_that_is_none_is_an_error_at_start(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(ConfigurationError, match="CA file"):
        log_sink(Delivery("https://broker", ca_file=tmp_path / "ca.crt"))

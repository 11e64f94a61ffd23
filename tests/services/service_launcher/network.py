"""Ports to listen at, and asking over HTTP whether a service answers.

Invariant: nothing here reaches beyond the address it is given; proxies of the environment are not used.
"""

import http.client
import random
import socket
import urllib.error
import urllib.request

from service_launcher.workspace import NotAnswering, ServiceError

LOOPBACK = "127.0.0.1"
# Below the range that Linux takes source ports from: while a service is down for a restart, no client's connection, not
# even one to the service itself, can sit on its port.
_PORTS = range(20_000, 30_000)
_PROBE_S = 3.0


def free_port() -> int:
    """A port of loopback that nobody listens at; random, so that two launchers seldom meet."""
    for port in random.sample(_PORTS, k=200):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise ServiceError(f"no free port between {_PORTS.start} and {_PORTS.stop}: stop what uses them")


def probe_http(url: str) -> None:
    """Return where a GET is answered with 200. Raises `NotAnswering`, or `ServiceError` for what is no HTTP address."""
    if not url.startswith(("http://", "https://")):
        raise ServiceError(f"{url!r} is no address: give http://HOST:PORT")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_PROBE_S) as response:
            if response.status != http.client.OK:
                raise NotAnswering(f"it answers {response.status}")
    except urllib.error.HTTPError as exc:
        exc.close()
        raise NotAnswering(f"it answers {exc.code}") from exc
    except (ValueError, http.client.InvalidURL) as exc:
        raise ServiceError(f"{url!r} is no address: {exc}") from exc
    except (OSError, http.client.HTTPException) as exc:
        raise NotAnswering(str(getattr(exc, "reason", None) or exc)) from exc

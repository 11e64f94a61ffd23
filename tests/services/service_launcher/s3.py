"""An S3 server: moto's, in an environment of its own (constraints/moto.txt).

Invariant: it keeps its objects in memory alone, so that a restart begins with none.
"""

from service_launcher.network import LOOPBACK, free_port, probe_http
from service_launcher.workspace import DEFINITIONS, Launch, Program, Workspace, variable

_ROOT = DEFINITIONS.parents[1]


class S3:
    """Reads requests as Amazon's S3 does, path style and bucket style; it checks no signatures."""

    name = "s3"
    programs: tuple[Program, ...] = ()

    def prepare(self, work: Workspace) -> Launch:
        work.call("s3-setup", (str(_ROOT / "scripts" / "setup"), "--without-model-server", "--with-moto"))
        port = free_port()
        command = (str(_ROOT / ".venvs" / "moto" / "bin" / "moto_server"), "-H", LOOPBACK, "-p", str(port))
        return Launch(self.name, command, {variable(self.name): f"http://{LOOPBACK}:{port}"})

    def probe(self, address: str) -> None:
        """Where it lists its buckets, it answers."""
        probe_http(f"{address.rstrip('/')}/")

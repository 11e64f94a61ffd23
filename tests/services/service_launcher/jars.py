"""Published jars, fetched once by Maven and kept; and classes compiled against them.

Invariant: a folder of the cache is complete. It is made under another name and renamed when done, under one lock, so
that neither an interrupted download nor a second launcher leaves half of one.
"""

import fcntl
import hashlib
import shutil
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from service_launcher.workspace import Cancelled, Workspace, say

TOOLS = ("java", "javac", "mvn")
# A test's service is short-lived: quick to start beats fast when warm.
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where jars are kept between launches."""
    if own := environment.get("WAYSIDE_SERVICES_CACHE"):
        return Path(own).absolute()
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wayside-services"


def missing_tools() -> list[str]:
    """Which of the programs that jars need are not on the path."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def version_in(pom: Path) -> str:
    """The version of the pom's first dependency, which is the service itself."""
    version = ElementTree.parse(pom).findtext("dependencies/dependency/version")
    assert version is not None, f"{pom} names no version"
    return version


def fetch_jars(pom: Path, name: str, work: Workspace) -> Path:
    """The folder of the jars that a pom names, and theirs. Raises `ServiceError` where Maven fails."""

    def download(folder: Path) -> None:
        say(f"{name}: fetching its jars by Maven, once")
        options = ("--quiet", "--batch-mode", "--file", str(pom), f"-DoutputDirectory={folder}")
        work.call(f"{name}-jars", ("mvn", *options, "dependency:copy-dependencies"))

    return _cached(f"{name}-jars-{_digest(pom)}", download, work)


def compile_class(source: Path, pom: Path, name: str, work: Workspace) -> Path:
    """The folder of the classes of one source file, compiled against a pom's jars."""
    jars = fetch_jars(pom, name, work)

    def compile_into(folder: Path) -> None:
        command = ("javac", "-cp", f"{jars}/*", "-d", str(folder), str(source))
        work.call(f"{name}-javac", command)

    return _cached(f"{name}-classes-{_digest(pom, source)}", compile_into, work)


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:12]


def _cached(key: str, make: Callable[[Path], None], work: Workspace) -> Path:
    """A folder by this key, made by `make` where it is not there yet."""
    done = work.cache / key
    if done.is_dir():
        return done
    with _only_one(work):  # also because Maven's own repository is not made for two at once
        if not done.is_dir():
            draft = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=work.cache))
            try:
                make(draft)
                draft.chmod(0o755)
                draft.rename(done)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return done


@contextmanager
def _only_one(work: Workspace) -> Iterator[None]:
    work.cache.mkdir(parents=True, exist_ok=True)
    with (work.cache / ".lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if work.cancelled.wait(0.1):
                    raise Cancelled("waiting for the cache") from None
        yield

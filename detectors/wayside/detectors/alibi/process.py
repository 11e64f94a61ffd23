"""One worker process: started, asked, watched, ended.

Invariant: the process ends with us, however we end: it sees that its socket is closed, also in the middle of a call.
Each answer comes by its deadline, or the process is killed and `WorkerLost` raised; nothing that it says is run.
"""

import logging
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from wayside.detectors.alibi import worker
from wayside.detectors.alibi.errors import WorkerLost, WorkerRefusal
from wayside.detectors.kinds.protocol import Array
from wayside.eventing.errors import ConfigurationError

log = logging.getLogger(__name__)

_PROGRAM = Path(worker.__file__).resolve()
_PASSED_ON = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_CACHE_HOME", "LD_LIBRARY_PATH"),
    *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "CUDA_HOME"),
)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
_LINE_BYTES, _MOST_LINES, _LAST_LINES = 400, 2000, 5
_END_S = 5.0


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """How a worker is started: by which interpreter, with how many threads, with the GPU or without."""

    python: str
    threads: int = 1
    gpu: bool = False

    def environment(self) -> dict[str, str]:
        """A few variables of ours (no secret is among them), and what TensorFlow is told before it is imported."""
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        passed |= dict.fromkeys(_THREADS, str(self.threads))
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") if self.gpu else "-1"
        passed |= {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        return passed | {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONIOENCODING": "utf-8"}


class WorkerProcess:
    """A process that runs `worker.py`. `folder` is its own, and is removed when it ends. Ask from one thread at a time.

    `resident_bytes` is what it held when it last answered.
    """

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket, folder: Path) -> None:
        self.folder = folder
        self.resident_bytes = 0
        self._process = process
        self._connection = connection
        self._said: deque[str] = deque(maxlen=_LAST_LINES)
        self._listener = threading.Thread(target=self._listen, args=(process.stdout,), daemon=True)
        self._listener.start()

    @classmethod
    def start(cls, command: WorkerCommand) -> Self:
        """Raises `ConfigurationError` where the interpreter, or what it needs, cannot be had."""
        try:
            folder = Path(tempfile.mkdtemp(prefix="wayside-alibi-"))
        except OSError as exc:
            raise ConfigurationError(
                f"the alibi-detect worker has no folder for its files ({exc.strerror}): name one with TMPDIR that"
                " can be written"
            ) from exc
        try:
            return cls(*_started(command, folder), folder)
        except OSError as exc:
            shutil.rmtree(folder, ignore_errors=True)
            raise ConfigurationError(
                f"cannot run {command.python!r} ({exc.strerror or exc}): name the Python that has alibi-detect with"
                " --alibi-python, or in WAYSIDE_FIT_ALIBI_PYTHON, WAYSIDE_SCORE_ALIBI_PYTHON or"
                " WAYSIDE_DETECT_ALIBI_PYTHON, by the command"
            ) from exc

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, head: dict[str, Any], arrays: list[Array], timeout_s: float) -> tuple[dict[str, Any], list[Array]]:
        """What it answers. Raises `WorkerRefusal`, or `WorkerLost` and is then of no more use."""
        deadline_s = time.monotonic() + timeout_s
        try:
            worker.send_frame(self._connection, head, arrays, deadline_s)
            reply, told = worker.receive_frame(self._connection, deadline_s)
            self.resident_bytes = int(reply["resident_bytes"])
        except TimeoutError as exc:
            self.close()
            raise WorkerLost(f"the alibi-detect worker did not answer within {timeout_s:g} s") from exc
        except (OSError, EOFError, KeyError, TypeError, ValueError, OverflowError, worker.FrameError) as exc:
            status = self.close()
            raise WorkerLost(f"the alibi-detect worker ended with status {status}{self._last_words()}") from exc
        if "refused" in reply:
            raise WorkerRefusal(str(reply["refused"]), str(reply.get("text", "")))
        return reply, told

    def close(self) -> int | None:
        """End it and remove its folder; may be called twice. Returns its exit status, None where it will not end."""
        self._connection.close()
        try:
            status = self._end()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._listener.join(_END_S)
        return status

    def _end(self) -> int | None:
        try:
            return self._process.wait(0.2)  # it ends by itself once its socket is closed, or has ended already
        except subprocess.TimeoutExpired:
            self._process.kill()
        try:
            return self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return None

    def _listen(self, output: IO[bytes]) -> None:
        """What the libraries print is read to the end, so that they never wait; a bounded part of it is logged."""
        with output:
            for number, line in enumerate(iter(lambda: output.readline(_LINE_BYTES), b"")):
                text = line.decode("utf-8", "replace").rstrip()
                self._said.append(text)
                if number < _MOST_LINES:
                    log.debug("alibi-detect worker %d: %s", self.pid, text)

    def _last_words(self) -> str:
        return f" ({self._said[-1]})" if self._said else ""


def _started(command: WorkerCommand, folder: Path) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process, and our end of its connection. Raises `OSError`."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = subprocess.Popen(
                [command.python, "-I", "-B", str(_PROGRAM), str(theirs.fileno()), str(folder)],
                env=command.environment(),
                cwd=folder,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
    except BaseException:
        ours.close()
        raise
    return process, ours

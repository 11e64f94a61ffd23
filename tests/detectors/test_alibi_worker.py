"""The worker as a process: it answers, dies, hangs, grows, and ends with us. Its alibi-detect is a stand-in, which does
what a row's first value says; test_alibi_detectors.py has the real one."""

import json
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.detectors.alibi.errors import WorkerLost
from wayside.detectors.alibi.launch import Launch, SavedFacts
from wayside.detectors.alibi.process import WorkerCommand, WorkerProcess
from wayside.detectors.alibi.supervisor import Supervisor, WorkerLimits
from wayside.detectors.alibi.worker import FrameError, receive_frame, send_frame
from wayside.detectors.kinds.alibi import AlibiDetector, AlibiOptions, state_of
from wayside.detectors.kinds.protocol import Execution, State
from wayside.eventing.backoff import Backoff
from wayside.eventing.errors import ConfigurationError

STAND_IN = Path(__file__).parent / "oracles" / "alibi_stand_in"
SUM, PROCESS, RAISE, NAN, HANG, GROW, END, PRINT = (float(code) for code in range(8))
FACTS = SavedFacts("StandIn", "1", (2,), None, False)
AT_ONCE = Backoff(first_s=1e-6, limit_s=1e-6)


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter of its own, which has numpy and the stand-in for alibi-detect."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    packages = next((folder / "lib").glob("python*/site-packages"))
    (packages / "stand_in.pth").write_text(f"{STAND_IN}\n{Path(np.__file__).parents[1]}\n")
    return str(folder / "bin" / "python")


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "hangs")
    return tmp_path / "hangs"


def stand_in(**said: object) -> State:
    return state_of({"meta.dill": json.dumps(said).encode()}, FACTS, AlibiOptions())


Make = Callable[..., AlibiDetector]


@pytest.fixture
def make(python: str) -> Iterator[Make]:
    """Makes detectors whose workers end with the test."""
    made: list[AlibiDetector] = []

    def detector(state: State, limits: WorkerLimits | None = None) -> AlibiDetector:
        launch = Launch(WorkerCommand(python), state.files, (2,), np.empty((0, 0)), 30.0)
        made.append(AlibiDetector(state, Supervisor(launch, limits, AT_ONCE)))
        return made[-1]

    yield detector
    for each in made:
        each.close()
        each.close()


def rows(*codes: float) -> np.ndarray:
    return np.array([(code, 0.5) for code in codes])


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_for(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "the condition did not come to hold"


def test_it_starts_when_it_is_asked_and_not_before(python: str) -> None:
    detector = AlibiDetector.restore(stand_in(), Execution(trust_pickle=True, alibi_python=python))
    detector.warm()
    scores = detector.score(rows(SUM, PROCESS, NAN))
    assert scores[0] == 0.5
    assert scores[1] != os.getpid()
    assert np.isnan(scores[2])
    assert detector.score(np.empty((0, 2))).shape == (0,)
    detector.close()
    wait_for(lambda: is_gone(int(scores[1])))
    with pytest.raises(WorkerLost, match="closed"):
        detector.score(rows(SUM))


def test_a_wrapped_folder_gives_the_same_scores_when_it_is_restored(python: str, tmp_path: Path) -> None:
    (tmp_path / "meta.dill").write_text("{}")
    execution = Execution(trust_pickle=True, alibi_python=python)
    wrapped = AlibiDetector.wrap(tmp_path, AlibiOptions(shape="1-2"), execution)
    restored = AlibiDetector.restore(wrapped.state(), execution)
    given_rows = np.random.default_rng(0).normal(size=(50, 2)) * 0.4
    assert np.array_equal(wrapped.score(given_rows), restored.score(given_rows))
    assert wrapped.features == 2
    for detector in (wrapped, restored):
        detector.close()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"refuse": True}, "NotImplementedError: a detector of another age"),
        ({"meta": {"detector_type": "drift"}}, "StandIn is a drift detector"),
        ({"meta": {"name": "OutlierProphet"}}, "no rows"),
    ],
    ids=["old", "drift", "prophet"],
)
def test_a_detector_that_is_refused(python: str, tmp_path: Path, said: dict[str, object], reason: str) -> None:
    (tmp_path / "meta.dill").write_text(json.dumps(said))
    with pytest.raises(ConfigurationError, match=reason):
        AlibiDetector.wrap(tmp_path, AlibiOptions("2"), Execution(trust_pickle=True, alibi_python=python))


def test_many_threads_may_ask_at_once(make: Make) -> None:
    detector = make(stand_in())
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda at: detector.score(np.array([[0.0, at]]))[0], range(64)))
    assert told == list(range(64))


def test_a_row_that_raises_harms_no_other(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    detector = make(stand_in())
    for _ in range(2):
        scores = detector.score(rows(SUM, RAISE, SUM))
        assert scores.tolist()[::2] == [0.5, 0.5]
        assert np.isnan(scores[1])
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert told == ["the saved detector cannot score some rows: ValueError: a row that this detector does not like"]


def test_one_that_learns_scores_each_row_by_what_was_saved(make: Make) -> None:
    detector = make(stand_in(meta={"online": True}))
    assert detector.score(rows(SUM, SUM, SUM)).tolist() == [0.5, 0.5, 0.5]
    assert detector.score(rows(SUM)).tolist() == [0.5]


def test_a_worker_killed_in_the_middle_of_a_call_is_replaced(make: Make, fifo: Path) -> None:
    detector = make(stand_in(fifo=str(fifo)))
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(detector.score, rows(SUM, HANG))
        pid = int(fifo.read_text())  # once it is in the middle of the call
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerLost, match="status -9"):
            call.result(15)
    assert detector.score(rows(SUM)).tolist() == [0.5]
    assert detector.score(rows(PROCESS)).tolist() != [pid]


def test_one_that_ends_itself_says_its_last_words(make: Make) -> None:
    detector = make(stand_in())
    with pytest.raises(WorkerLost, match=r"status 3 \(the last words of a detector\)"):
        detector.score(rows(END))
    assert detector.score(rows(SUM)).tolist() == [0.5]


def test_one_that_does_not_answer_in_time_is_replaced(make: Make, fifo: Path) -> None:
    detector = make(stand_in(fifo=str(fifo)), WorkerLimits(call_s=0.3))
    with pytest.raises(WorkerLost, match=r"did not answer within 0\.3 s"):
        detector.score(rows(HANG))
    assert detector.score(rows(SUM)).tolist() == [0.5]


def test_what_it_prints_is_read_and_bounded(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    detector = make(stand_in())
    with caplog.at_level(logging.DEBUG, "wayside.detectors.alibi"):
        assert detector.score(rows(PRINT)).tolist() == [7.5]
    detector.close()
    lines = [record.getMessage() for record in caplog.records if "alibi-detect worker" in record.getMessage()]
    assert any("loaded" in line for line in lines)
    assert len(lines) <= 2000
    assert max(map(len, lines)) < 500


def test_one_that_has_grown_is_replaced_and_no_call_fails(make: Make) -> None:
    detector = make(stand_in(), WorkerLimits(growth_bytes=32 << 20))
    first = detector.score(rows(PROCESS))[0]
    assert detector.score(rows(GROW)).tolist() == [5.5]
    wait_for(lambda: bool(detector.score(rows(PROCESS))[0] != first))
    assert is_gone(int(first))


def test_after_a_failed_start_the_next_waits(python: str) -> None:
    starts: list[None] = []

    def fails() -> WorkerProcess:
        starts.append(None)
        raise WorkerLost("it died on the way")

    supervisor = Supervisor(fails, backoff=Backoff(first_s=60.0, limit_s=60.0))
    with pytest.raises(WorkerLost, match="on the way"):
        supervisor.warm()
    with pytest.raises(WorkerLost, match=r"starts again in \d+ s: it died on the way"):
        supervisor.warm()
    assert len(starts) == 1


@dataclass(frozen=True)
class Told(Backoff):
    """No pause, and after how many failures each would be."""

    after: list[int] = field(default_factory=list)

    def delay_s(self, failures: int, asked_s: float | None = None) -> float:
        self.after.append(failures)
        return 0.0


def launch_of(python: str, **said: object) -> Launch:
    return Launch(WorkerCommand(python), stand_in(**said).files, (2,), np.empty((0, 0)), 30.0)


def test_calls_that_end_the_worker_are_counted_until_one_is_answered(python: str) -> None:
    pauses = Told()
    detector = AlibiDetector(stand_in(), Supervisor(launch_of(python), backoff=pauses))
    for code in (END, END, END, SUM, END):
        if code == END:
            with pytest.raises(WorkerLost, match="status 3"):
                detector.score(rows(code))
        else:
            assert detector.score(rows(code)).tolist() == [0.5]
    assert pauses.after == [1, 2, 3, 1]
    detector.close()


def test_after_a_call_that_ended_the_worker_the_next_waits(python: str) -> None:
    supervisor = Supervisor(launch_of(python), backoff=Backoff(first_s=60.0, limit_s=60.0))
    detector = AlibiDetector(stand_in(), supervisor)
    with pytest.raises(WorkerLost, match="status 3"):
        detector.score(rows(END))
    for _ in range(50):
        with pytest.raises(WorkerLost, match=r"starts again in \d+ s: .* ended with status 3"):
            detector.score(rows(SUM))


class Counted:
    """A supervisor, and how many rows each call had."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.warm, self.close = supervisor.warm, supervisor.close
        self.calls: list[int] = []

    def ask(self, head: dict[str, Any], arrays: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        self.calls.append(len(arrays[0]))
        return self._supervisor.ask(head, arrays)


@pytest.mark.parametrize(
    ("meta", "calls"),
    [({}, [64, 136, 200]), ({"online": True}, [64, 64, 64, 8] * 2)],
    ids=["together", "alone"],
)
def test_what_scores_row_by_row_is_sent_few_rows_a_call(python: str, meta: dict[str, object], calls: list[int]) -> None:
    counted = Counted(Supervisor(launch_of(python, meta=meta)))
    detector = AlibiDetector(stand_in(), counted)
    for _ in range(2):
        assert detector.score(rows(*[SUM] * 200)).tolist() == [0.5] * 200
    assert counted.calls == calls
    detector.close()


def test_a_worker_without_a_place_for_its_files_is_refused(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="name one with TMPDIR that can be written"):
        WorkerProcess.start(WorkerCommand(python))


def test_an_interpreter_that_is_not_there_is_refused_with_the_variable_of_each_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--alibi-python") as caught:
        WorkerProcess.start(WorkerCommand(str(tmp_path / "python")))
    for command in ("FIT", "SCORE", "DETECT"):
        assert f"WAYSIDE_{command}_ALIBI_PYTHON" in str(caught.value)


def test_no_worker_is_left_behind_when_we_are_killed(python: str, fifo: Path, tmp_path: Path) -> None:
    """Also one in the middle of a call, with its folder."""
    program = (
        "import sys, json, numpy as np\n"
        "from wayside.detectors.alibi.process import WorkerCommand\n"
        "from wayside.detectors.alibi.launch import Launch\n"
        "files = {'meta.dill': json.dumps({'fifo': sys.argv[2]}).encode()}\n"
        "worker = Launch(WorkerCommand(sys.argv[1]), files, (2,), np.empty((0, 0)), 30.0)()\n"
        "worker.ask({'call': 'score', 'by_feature': False}, [np.array([[float(sys.argv[3]), 0.0]])], 60.0)\n"
    )
    command = [sys.executable, "-c", program, python, str(fifo), str(HANG)]
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}) as parent:
        worker = int(fifo.read_text())
        assert list(tmp_path.glob("wayside-alibi-*"))
        parent.kill()
    wait_for(lambda: is_gone(worker))
    assert not list(tmp_path.glob("wayside-alibi-*"))


def test_a_worker_ends_with_the_detector_that_nobody_holds(make: Make, python: str) -> None:
    detector = AlibiDetector.restore(stand_in(), Execution(trust_pickle=True, alibi_python=python))
    pid = int(detector.score(rows(PROCESS))[0])
    del detector
    wait_for(lambda: is_gone(pid))


@pytest.mark.parametrize("name", ["start_s", "call_s", "growth_bytes"])
def test_limits_that_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        WorkerLimits(**{name: 0})


@pytest.fixture(scope="module")
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


@given(
    shapes=st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=4),
    dtype=st.sampled_from(["<f4", "<f8", ">f8"]),
    text=st.text(max_size=20),
)
def test_a_frame_says_what_was_said(
    ends: tuple[socket.socket, socket.socket], shapes: list[list[int]], dtype: str, text: str
) -> None:
    arrays = [np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape) for shape in shapes]
    send_frame(ends[0], {"text": text}, arrays, time.monotonic() + 5)
    head, told = receive_frame(ends[1], time.monotonic() + 5)
    assert head == {"text": text}
    assert [array.shape for array in told] == [array.shape for array in arrays]
    assert all(np.array_equal(one, other) for one, other in zip(told, arrays, strict=True))


@pytest.mark.parametrize(
    "head",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"arrays": 3}',
        b'{"arrays": [{"dtype": "|O", "shape": [1]}]}',
        b'{"arrays": [{"dtype": "<f8", "shape": [-1]}]}',
        b'{"arrays": [{"dtype": "<f8", "shape": [9000000000]}]}',
        b'{"arrays": [' + b",".join([b'{"dtype": "<f8", "shape": [0]}'] * 5) + b"]}",
        b"[" * 5000,
    ],
    ids=["json", "list", "bare", "number", "objects", "negative", "huge", "many", "deep"],
)
def test_a_frame_that_is_refused(head: bytes) -> None:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(struct.pack("<I", len(head)) + head)
        with pytest.raises(FrameError):
            receive_frame(there, time.monotonic() + 5)


def test_a_frame_with_too_long_a_head_is_not_read() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(struct.pack("<I", 1 << 30))
        with pytest.raises(FrameError, match="a head of"):
            receive_frame(there, time.monotonic() + 5)

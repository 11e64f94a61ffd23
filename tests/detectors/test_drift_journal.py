"""What the journal keeps of an arrival besides its rows: when it came, and what tells it from others like it."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.service.store import DriftStore, Reader
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.fitting.window_plan import WindowPlan
from wayside.detectors.tabular.event_rows import Side
from wayside.detectors.tabular.table import Table
from wayside.eventing.clock import FakeClock, parse_time
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import OUTLIER, SUBJECT_ID, SUBJECT_SOURCE

from .conftest import DriftTerms, at, drift_in, normal_rows, request_event, wait_until


async def test_a_sender_whose_clock_is_ahead_is_as_far_ahead_after_a_restart(ks: Artifact, tmp_path: Path) -> None:
    watermarks = []
    for second, event in ((0, request_event(normal_rows(5, 1), "ahead", at(240))), (200, None)):
        clock = FakeClock(parse_time(at(second)))
        async with drift_in(tmp_path, ks, terms=DriftTerms(clock=clock)) as drift:
            if event is not None:
                await drift.take(event)
            watermarks += [key["watermark"] for key in drift.keys.values()]
    assert watermarks == [at(-2), at(-2)], "of when it came, not of what its sender's clock said"


def verdicts() -> list[CloudEvent]:
    """Of two detectors on each of two inferences, six rows each: a window of ten ends within the last."""
    said = []
    for second in (0, 1):
        base = request_event([], "v", at(second), **{SUBJECT_SOURCE: "/model", SUBJECT_ID: f"inference {second}"})
        for n, detector in enumerate(("/a", "/b")):
            data = json.dumps({"data": {"p_value": [0.1 + 0.5 * n + 0.05 * row for row in range(6)]}, "meta": {}})
            said.append(replace(base, source=detector, type=OUTLIER, data=data.encode(), id=f"{detector}{second}"))
    end = request_event([], "end", at(9), **{SUBJECT_SOURCE: "/model", SUBJECT_ID: "end"})
    return [*said, replace(end, type=OUTLIER, data=b'{"data": {"p_value": [0.5]}, "meta": {}}')]


async def test_verdicts_on_one_inference_have_an_order_whichever_comes_first(tmp_path: Path) -> None:
    plan = FitSettings(name="drift", windows=WindowPlan.of_rows(10))
    artifact = fit_artifact("ks", Table.of(normal_rows(1000, 2, 1)), plan).artifact
    posted = []
    *said, end = verdicts()
    for name, order in (("plain", said), ("turned", said[::-1])):
        terms = DriftTerms(side=Side.VERDICT)
        async with drift_in(tmp_path / name, artifact, terms=terms) as drift:
            await drift.take(*order[:3])
        with closing(sqlite3.connect(tmp_path / name / "drift.sqlite")) as connection:
            parts = {part for (part,) in connection.execute("SELECT part FROM arrival")}
        assert json.dumps([OUTLIER, "/a", order[0].id.replace("b", "a")]) in parts
        async with drift_in(tmp_path / name, artifact, terms=terms) as drift:
            await drift.take(order[3], end)
            await wait_until(lambda drift=drift: drift.view() == (25, 20, 2, 0))  # type: ignore[misc]
        posted.append(drift.sink.events)
    assert posted[0] == posted[1]


@pytest.mark.parametrize(("version", "match"), [(2, "an earlier Wayside"), (4, "a later Wayside")])
async def test_a_journal_of_another_format_is_refused(ks: Artifact, tmp_path: Path, version: int, match: str) -> None:
    async with drift_in(tmp_path, ks):
        pass
    with closing(sqlite3.connect(tmp_path / "drift.sqlite")) as connection:
        connection.execute("UPDATE reader SET format = ?", (version,))
        connection.commit()
    with pytest.raises(ConfigurationError, match=f"{match}.*name another --data folder"):
        await DriftStore(tmp_path, Reader(ks.identity(), 4)).start()

"""A key's snapshot and the arrivals it still holds give back the key: as if there had been no restart, at any point."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.detectors.drift.settings import Cut, WindowLimits, WindowSettings
from wayside.detectors.drift.windowing.values import Arrival, WindowKey
from wayside.detectors.drift.windowing.windowing import Windowing

from .window_arrivals import SECOND, Seen, arrival, counts, cut_by, cuts, fold, given_up, key, quick, spans, streams

LIMITS = WindowLimits(key_rows=60, keys=2, idle_s=30)


@dataclass
class Store:
    """What a service keeps: arrivals that are not spent, and of each key the snapshot that goes with its last window
    or arrival."""

    settings: WindowSettings
    journal: dict[int, Arrival] = field(default_factory=dict)
    snapshots: dict[WindowKey, bytes] = field(default_factory=dict)
    windows: list[Seen] = field(default_factory=list)

    def opened(self) -> Windowing:
        """As a process that starts finds it."""
        windowing = Windowing(self.settings, LIMITS)
        for each, snapshot in self.snapshots.items():
            windowing.restore(each, snapshot, [held for held in self.journal.values() if held.key == each])
        return windowing

    def take(self, windowing: Windowing, sent: Arrival) -> None:
        self.journal[sent.position] = sent
        taken = windowing.take(sent)
        self.windows += given_up(taken)
        for evicted in taken.evicted:
            self.forget(evicted.spent)
            self.snapshots.pop(evicted.key, None)
        self.commit(windowing, sent.key)

    def cut(self, windowing: Windowing) -> None:
        """One window of one key, if one is complete."""
        for each in windowing.ready()[:1]:
            window = windowing.next_window(each)
            assert window is not None
            self.windows.append(Seen.of(window))
            self.commit(windowing, each)

    def commit(self, windowing: Windowing, each: WindowKey) -> None:
        self.forget(windowing.spent(each))
        self.snapshots[each] = windowing.snapshot(each)

    def forget(self, spent: Sequence[int]) -> None:
        for position in spent:
            del self.journal[position]


def two_keys(arrivals: list[Arrival]) -> list[Arrival]:
    """Every third arrival is of another key, and the ninth of yet another, which is one too many."""
    keys = {0: key("canary"), 1: key("other")}
    return [replace(each, key=keys.get(each.position % 9 % 3 * 9 + each.position // 9 % 2, key())) for each in arrivals]


@quick
@given(streams(), cuts(), st.lists(st.integers(0, 3), min_size=40, max_size=40))
def test_a_restart_at_any_point_changes_no_window_and_no_account(
    arrivals: list[Arrival], cut: Cut, steps: list[int]
) -> None:
    arrivals = two_keys(arrivals)
    whole = Windowing(cut_by(cut), LIMITS)
    undisturbed = fold(whole, arrivals)
    store = Store(cut_by(cut))
    windowing = store.opened()
    for sent, step in zip(arrivals, steps, strict=False):
        store.take(windowing, sent)
        if step == 0:
            windowing = store.opened()
        for _ in range(step):
            store.cut(windowing)
    windowing = store.opened()
    while windowing.ready():
        store.cut(windowing)
    by_key = {each.key for each in undisturbed}
    assert {each: [seen for seen in store.windows if seen.key == each] for each in by_key} == {
        each: [seen for seen in undisturbed if seen.key == each] for each in by_key
    }
    assert len(store.windows) == len(undisturbed)
    assert sorted(windowing.progress(), key=str) == sorted(whole.progress(), key=str)


@quick
@given(streams(), cuts())
def test_only_arrivals_that_a_window_to_come_needs_are_held(arrivals: list[Arrival], cut: Cut) -> None:
    store = Store(cut_by(cut))
    windowing = store.opened()
    for sent in arrivals:
        store.take(windowing, sent)
        while windowing.ready():
            store.cut(windowing)
    (told,) = windowing.progress()
    held = sorted(store.journal.values(), key=lambda each: each.order)
    assert sum(len(each.rows) for each in held[1:]) < told.open or told.open == 0
    assert sum(len(each.rows) for each in held) >= told.open


def test_positions_that_nobody_asked_for_are_told_after_a_restart() -> None:
    windowing = Windowing(cut_by(counts(3)), WindowLimits())
    arrivals = [arrival(0, 9), arrival(1, 0), arrival(2, 10, 5), arrival(3, 20)]
    fold(windowing, arrivals)
    again = Windowing(cut_by(counts(3)), WindowLimits())
    again.restore(key(), windowing.snapshot(key()), arrivals)
    assert list(again.spent(key())) == list(windowing.spent(key())) == [1, 0, 2]
    assert again.progress() == windowing.progress()


def snapshot() -> bytes:
    windowing = Windowing(cut_by(counts(3)), WindowLimits())
    fold(windowing, [arrival(0, 0, 5), arrival(1, 10, 5)])
    return windowing.snapshot(key())


def test_a_snapshot_is_small_and_holds_no_row() -> None:
    windowing = Windowing(cut_by(counts(100_000)), WindowLimits())
    for at in range(500):
        windowing.take(arrival(at, at / 10, 100))
    assert len(windowing.snapshot(key())) < 1000


def without_end(text: bytes) -> bytes:
    return json.dumps({name: value for name, value in json.loads(text).items() if name != "end"}).encode()


@pytest.mark.parametrize(
    ("damage", "cut", "held", "reason"),
    [
        pytest.param(lambda _: b"{", counts(3), [0, 1], "no snapshot", id="cut off"),
        pytest.param(lambda _: b'{"version":9}', counts(3), [0, 1], "another version", id="a newer version"),
        pytest.param(without_end, counts(3), [0, 1], "no snapshot", id="a part is missing"),
        pytest.param(bytes, counts(4), [0, 1], "were cut by", id="another size"),
        pytest.param(bytes, spans(4), [0, 1], "were cut by", id="another cut"),
        pytest.param(bytes, counts(3), [1], "given them to", id="an arrival is missing"),
        pytest.param(bytes, counts(3), [0, 1, 2], "given them to", id="an arrival too many"),
    ],
)
def test_what_does_not_fit_is_refused(damage: Callable[[bytes], bytes], cut: Cut, held: list[int], reason: str) -> None:
    arrivals = [arrival(0, 0, 5), arrival(1, 10, 5), arrival(2, 11)]
    windowing = Windowing(cut_by(cut), WindowLimits())
    with pytest.raises(ValueError, match=reason):
        windowing.restore(key(), damage(snapshot()), [arrivals[at] for at in held])
    assert windowing.progress() == []


def test_a_key_is_restored_before_it_begins() -> None:
    windowing = Windowing(cut_by(counts(3)), WindowLimits())
    windowing.take(arrival(7, 0))
    with pytest.raises(ValueError, match="begun"):
        windowing.restore(key(), snapshot(), [])


def test_a_restored_key_keeps_its_watermark() -> None:
    windowing = Windowing(cut_by(counts(3)), WindowLimits())
    windowing.restore(key(), snapshot(), [arrival(0, 0, 5), arrival(1, 10, 5)])
    windowing.take(arrival(2, 7.9))
    (told,) = windowing.progress()
    assert told.late == 1
    assert told.watermark_ns == arrival(0, 8).time_ns
    assert told.watermark_ns % SECOND == 0

"""Windows as arithmetic: without gap or overlap, the same however rows were cut into events."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.detectors.drift.service.row_log import Entry
from wayside.detectors.drift.service.windows import (
    RowsMissing,
    assemble,
    complete_windows,
    latest_time,
    parse_key,
    to_payload,
)
from wayside.eventing.verdict import RowRange
from wayside.eventing.vocabulary import ServiceKey


def entries_of(sizes: list[int]) -> list[Entry]:
    rows = np.arange(2.0 * sum(sizes)).reshape(-1, 2)
    firsts = np.cumsum([0, *sizes])
    return [
        Entry("k", "s", str(n), f"2026-01-01T00:00:{n:02d}Z", size, to_payload(rows[first : first + size]), int(first))
        for n, (size, first) in enumerate(zip(sizes, firsts, strict=False))
    ]


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 50))
def test_windows_follow_each_other_and_leave_less_than_one_open(position: int, more: int, size: int) -> None:
    windows = list(complete_windows(position, position + more, size))
    assert windows == [(position + n * size, position + (n + 1) * size) for n in range(more // size)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 12))
def test_every_row_is_in_exactly_one_window_as_its_member_says(sizes: list[int], size: int) -> None:
    entries = entries_of(sizes)
    everything = np.arange(2.0 * sum(sizes)).reshape(-1, 2)
    for first, end in complete_windows(0, sum(sizes), size):
        touching = [entry for entry in entries if entry.first < end and entry.end > first]
        window = assemble(touching, first, end, 2)
        assert window.rows.tolist() == everything[first:end].tolist()
        named = [
            entries[int(member.id)].first + row
            for member in window.members
            for row in range(member.first_row, member.end_row)
        ]
        assert named == list(range(first, end))
        assert window.time == touching[-1].time


def test_members_name_the_rows_of_each_event() -> None:
    entries = entries_of([3, 2, 4])
    window = assemble(entries, 2, 6, 2)
    ranges = [("0", 2, 3), ("1", 0, 2), ("2", 0, 1)]
    assert window.members == [
        RowRange("s", name, first, end, entry.time) for (name, first, end), entry in zip(ranges, entries, strict=True)
    ]


def test_missing_rows_and_trimmed_or_foreign_payloads_are_an_error() -> None:
    entries = entries_of([3, 2, 4])
    for broken in ([entries[0], entries[2]], entries[:2], entries[1:], []):
        with pytest.raises(RowsMissing, match="missing"):
            assemble(broken, 0, 9, 2)
    with pytest.raises(RowsMissing, match="3 rows of 5 features"):
        assemble(entries, 0, 9, 5)


def test_the_latest_time_is_a_moment_not_a_text() -> None:
    assert latest_time(["2026-01-01T10:00:00Z", "2026-01-01T11:00:00+02:00"]) == "2026-01-01T10:00:00Z"
    assert latest_time(["2026-01-01T10:00:00Z", "2026-01-01T12:00:00+02:00"]) == "2026-01-01T10:00:00Z"


@given(st.builds(ServiceKey, *[st.text(alphabet="a/%2F5", max_size=6)] * 4))
def test_a_journal_key_gives_its_service_key_back(key: ServiceKey) -> None:
    assert parse_key(str(key)) == key

"""What may be committed while events finish in any order, and what is in hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.kafka.binding import OVERHEAD_BYTES, KafkaRecord
from wayside.eventing.kafka.holding import Holding, SourceLimits
from wayside.eventing.kafka.offsets import PartitionId, PartitionOffsets

P = PartitionId("t", 0)


@given(st.sets(st.integers(0, 60), min_size=1), st.randoms(use_true_random=False), st.data())
def test_everything_below_what_is_committable_is_finished(come: set[int], order: object, data: st.DataObject) -> None:
    offsets, waiting, begun, finished = PartitionOffsets(100), sorted(come), [], set()
    while waiting or begun:
        if waiting and (not begun or data.draw(st.booleans())):
            begun.append(waiting.pop(0))
            assert offsets.begin(begun[-1])
        else:
            one = begun.pop(data.draw(st.integers(0, len(begun) - 1)))
            offsets.finish(one)
            finished.add(one)
        at = offsets.committable
        assert at is not None
        assert {one for one in come if one < at} <= finished
        assert offsets.unfinished == len(begun)
        assert at == (min(begun) if begun else max(finished) + 1)  # and it holds back no more than it must
    assert offsets.committable == max(come) + 1


def test_nothing_is_committable_before_the_first_offset() -> None:
    assert PartitionOffsets(1).committable is None


@pytest.mark.parametrize("wrong", [4, 6, 9])
def test_only_what_is_in_hand_can_finish(wrong: int) -> None:
    offsets = PartitionOffsets(10)
    offsets.begin(5)
    offsets.begin(6)
    offsets.finish(6)
    with pytest.raises(ValueError, match="not in hand"):
        offsets.finish(wrong)


def test_a_log_that_went_back_is_told() -> None:
    offsets = PartitionOffsets(10)
    assert offsets.begin(5)
    assert not offsets.begin(5)
    assert not offsets.begin(0)


def test_what_is_passed_over_at_the_end_of_a_log_is_committable_once_all_before_it_is_finished() -> None:
    offsets = PartitionOffsets(10)
    offsets.begin(5)
    offsets.pass_over(9)
    assert offsets.committable == 5
    offsets.finish(5)
    assert offsets.committable == 9
    offsets.pass_over(7)
    assert offsets.committable == 9
    assert offsets.begin(9)


def test_a_partition_that_ends_without_a_record_is_committable_to_its_end() -> None:
    holding = Holding(SourceLimits())
    holding.take_over([P])
    holding.note_ends({P: 4, PartitionId("other", 0): 9})
    assert holding.to_commit() == {P: 4}


def test_the_span_is_bounded() -> None:
    offsets = PartitionOffsets(3)
    for offset in (1, 2, 9):
        offsets.begin(offset)
    assert offsets.room == 0
    offsets.finish(9)
    assert offsets.room == 0
    offsets.finish(1)
    assert offsets.room == 1


def record(offset: int, size: int = 0) -> KafkaRecord:
    return KafkaRecord("t", 0, offset, value=b"x" * size)


def test_what_is_in_hand_is_bounded_by_count_and_bytes() -> None:
    holding = Holding(SourceLimits(events=2, bytes=10_000))
    holding.take_over([P])
    held = holding.begin(record(0, 10_000 - OVERHEAD_BYTES))
    assert held is not None
    assert holding.full
    assert not holding.spacious
    holding.end(held, record(0, 10_000 - OVERHEAD_BYTES), finished=True)
    assert (holding.events, holding.bytes, holding.to_commit()) == (0, 0, {P: 1})
    holding.note_committed({P: 1, PartitionId("other", 0): 5})
    assert holding.to_commit() == {}


def test_a_partition_let_go_commits_nothing_however_its_events_end() -> None:
    holding = Holding(SourceLimits())
    holding.take_over([P])
    held = holding.begin(record(0))
    assert held is not None
    holding.let_go([P])
    assert held.let_go
    holding.end(held, record(0), finished=True)
    assert holding.to_commit() == {}
    assert holding.begin(record(1)) is None
    assert holding.events == 0


def test_a_topic_made_anew_is_read_from_its_beginning() -> None:
    holding = Holding(SourceLimits())
    holding.take_over([P])
    old = holding.begin(record(7))
    new = holding.begin(record(0))
    assert old is not None
    assert new is not None
    assert old.let_go
    holding.end(old, record(7), finished=True)
    assert holding.to_commit() == {P: 0}
    holding.end(new, record(0), finished=True)
    assert holding.to_commit() == {P: 1}


def test_one_open_event_lets_its_partition_get_ahead_only_so_far() -> None:
    holding = Holding(SourceLimits(events=2, span_events=8))
    holding.take_over([P])
    oldest = holding.begin(record(0))
    assert oldest is not None
    for offset in range(1, 7):
        assert not holding.overstretched(P, paused=False)
        held = holding.begin(record(offset))
        assert held is not None
        holding.end(held, record(offset), finished=True)
    assert holding.overstretched(P, paused=False)
    assert holding.overstretched(P, paused=True)
    holding.end(oldest, record(0), finished=True)
    assert not holding.overstretched(P, paused=True)


@pytest.mark.parametrize("limits", [{"events": 0}, {"bytes": 0}, {"events": 10, "span_events": 19}])
def test_limits_that_would_hold_everything_up(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="bounds"):
        SourceLimits(**limits)

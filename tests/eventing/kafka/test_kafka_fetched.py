"""What one fetch brings, while partitions go and topics grow."""

import pytest

from wayside.eventing.kafka.binding import KafkaRecord
from wayside.eventing.kafka.fetched import Fetched
from wayside.eventing.kafka.offsets import PartitionId

P, Q = PartitionId("t", 0), PartitionId("t", 1)


def test_an_end_counts_only_where_no_record_came_after_it() -> None:
    fetched = Fetched()
    fetched.add(KafkaRecord("t", 0, 7))
    fetched.ends |= {P: 8, Q: 3}
    fetched.add(KafkaRecord("t", 0, 8))
    assert fetched.ends == {Q: 3}
    assert [one.offset for one in fetched.records] == [7, 8]


@pytest.mark.parametrize(("gone", "left"), [(set(), 2), ({P}, 1), ({Q}, 1), ({P, Q}, 0)])
def test_of_a_partition_that_goes_nothing_stays(gone: set[PartitionId], left: int) -> None:
    fetched = Fetched([KafkaRecord("t", 0, 7), KafkaRecord("t", 1, 2)], {P: 8, Q: 3})
    fetched.forget(gone)
    assert {PartitionId(one.topic, one.partition) for one in fetched.records} == set(fetched.ends) == {P, Q} - gone
    assert len(fetched.records) == left

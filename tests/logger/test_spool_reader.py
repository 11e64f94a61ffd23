"""What the spool's reader hands out while others acknowledge: each event once."""

import asyncio
from pathlib import Path

from spool_stage import an_event

from wayside.eventing.storage.journal import Journal
from wayside.eventing.storage.journal_tables import Page
from wayside.logger.emit import spool_entry
from wayside.logger.emit.spool_reader import SpoolReader


class SlowJournal(Journal):
    """Says what it has read only when it may."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.has_read, self.may_say = asyncio.Event(), asyncio.Event()

    async def read(self, *bounds: int | str | None) -> Page:
        page = await super().read(*bounds)  # type: ignore[arg-type]  # as they came
        self.has_read.set()
        await self.may_say.wait()
        return page


async def test_what_is_acknowledged_during_a_read_is_not_handed_out_again(tmp_path: Path) -> None:
    journal = SlowJournal(tmp_path / "journal")
    await journal.start()
    reader = SpoolReader(journal, 8, lambda: None)
    await reader.open()
    await journal.append([spool_entry.encode(an_event(number), 0) for number in range(4)])
    journal.may_say.set()
    first = [spooled.position for spooled in await reader.wait_page()]
    reader.give_back(first[3])

    journal.has_read.clear()
    journal.may_say.clear()
    again = asyncio.create_task(reader.wait_page())
    await journal.has_read.wait()
    for position in first[:3]:
        reader.settle(position)
    await reader.acknowledge()
    journal.may_say.set()

    assert [spooled.position for spooled in await again] == [first[3]]
    assert reader.in_hand == 1
    await journal.stop()

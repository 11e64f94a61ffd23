"""The broker and its subscribers, killed with -9 at random under load: WAYSIDE_TEST_KILLS times in all."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from crash_processes import BrokerProcess, Load, SubscriberProcess, differing_counts, is_intact, resolutions

KILLS = int(os.environ.get("WAYSIDE_TEST_KILLS", "6"))
SEED = int(os.environ.get("WAYSIDE_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
IN_FLIGHT = 8
EVENTS_A_ROUND = 200
LONGEST_ROUND_S = 0.2
BROKER = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n"
NO_DEAD_LETTERS = "{retry: 1000, backoffPolicy: linear, backoffDelay: PT0.02S}"
COUNTED_ANEW = "counted anew"


class Battlefield:
    """A broker with three Triggers: a slow subscriber's, one's that replies, and one for the replies."""

    def __init__(self, folder: Path, new_trigger: Callable[..., str], dice: random.Random) -> None:
        self.slow = SubscriberProcess(folder, "slow", 0.01)
        self.replying = SubscriberProcess(folder, "replying", 0.0, "reply")
        self.third = SubscriberProcess(folder, "third", 0.0)
        self.subscribers = (self.slow, self.replying, self.third)
        flags = ["--in-flight", str(IN_FLIGHT), *resolutions({one.name: one.url for one in self.subscribers})]
        self.broker = BrokerProcess(folder, flags)
        self.kills = dict.fromkeys((None, *self.subscribers), 0)  # None: the broker
        self._dice = dice
        types = {"slow": "t", "replying": "t", "third": "reply"}
        triggers = [new_trigger(name, {"type": wanted}, NO_DEAD_LETTERS) for name, wanted in types.items()]
        (folder / "manifest.yaml").write_text(BROKER + "".join(triggers))

    async def start(self) -> None:
        await asyncio.gather(*(subscriber.start() for subscriber in self.subscribers))
        await self.broker.start()

    async def stop(self) -> None:
        await asyncio.gather(*(one.stop() for one in (self.broker, *self.subscribers)))

    async def kill_one(self) -> None:
        """The broker in half of all cases; its store is looked at before it starts again."""
        victim = self._dice.choice((None, None, None, *self.subscribers))
        self.kills[victim] += 1
        if victim is not None:
            await victim.stop()
            return await victim.start()
        await self.broker.stop()
        assert differing_counts(self.broker.folder) == 0
        return await self.broker.start()

    def duplicates_limit(self, subscriber: SubscriberProcess) -> int:
        """What was in flight when the broker was killed, or this subscriber."""
        return IN_FLIGHT * (self.kills[None] + self.kills[subscriber])


@pytest.fixture
async def field(tmp_path: Path, new_trigger: Callable[..., str]) -> AsyncIterator[Battlefield]:
    made = Battlefield(tmp_path, new_trigger, random.Random(SEED))
    await made.start()
    yield made
    await made.stop()
    print("".join(made.broker.lines[-200:]))  # pytest shows it where the test failed


async def test_no_accepted_event_is_lost(field: Battlefield, until: Callable[..., Awaitable[None]]) -> None:
    """Each Trigger gets all that were answered 202, and few of them twice."""
    print(f"WAYSIDE_TEST_SEED={SEED}")
    dice, load = random.Random(SEED + 1), Load()
    for number in range(KILLS):
        ids = [f"{number}-{one}" for one in range(EVENTS_A_ROUND)]
        posting = asyncio.create_task(load.post(field.broker, ids))
        await asyncio.wait([posting], timeout=dice.uniform(0, LONGEST_ROUND_S))
        await field.kill_one()
        await posting
    await load.post(field.broker)
    assert len(load.accepted) == KILLS * EVENTS_A_ROUND
    await until(field.broker.is_settled, 60)
    _check_balance(await field.broker.view(), len(load.accepted))
    for subscriber in field.subscribers:
        given = subscriber.ids()
        assert set(given) == load.accepted
        assert given.total() - len(given) <= field.duplicates_limit(subscriber)
    assert not [line for line in field.broker.lines if COUNTED_ANEW in line]
    await field.broker.stop()
    assert is_intact(field.broker.folder)


def _check_balance(counts: Any, events: int) -> None:
    assert counts["events"] == 2 * events  # each has a reply
    for trigger in counts["triggers"].values():
        found = (trigger["matched"], trigger["delivered"], trigger["dead_lettered"], trigger["waiting"])
        assert found == (events, events, 0, 0)

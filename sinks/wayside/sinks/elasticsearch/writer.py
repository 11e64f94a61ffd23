"""Writes batches of events: read the documents they are part of, merge, write what changed, again where need be.

Invariant: an event whose result is an outcome is in all of its documents, in Elasticsearch; one whose result is an
error is its sender's still, whatever part of it was written.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

from wayside.eventing.backoff import Backoff
from wayside.eventing.errors import MalformedEvent, WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import SinkUnavailable
from wayside.sinks.elasticsearch.bulk import MAY_PASS_SOON, Fate, Verdict, Write, requests
from wayside.sinks.elasticsearch.client import CallFailed, ElasticsearchClient
from wayside.sinks.elasticsearch.indices import DocumentRef
from wayside.sinks.elasticsearch.joining import Item, Progress, Round, slices
from wayside.sinks.elasticsearch.metrics import ElasticsearchMetrics
from wayside.sinks.elasticsearch.planner import Plan, conflict_plan, plan_of
from wayside.sinks.elasticsearch.settings import Bounds
from wayside.sinks.merging import Outcome

Result = Outcome | WaysideError
Fates = dict[DocumentRef, Fate]
_TRIED_AGAIN = MAY_PASS_SOON | {Verdict.OUTDATED}
_WHOLE_FAILURES = frozenset((Verdict.UNREACHABLE, Verdict.OVERLOADED, Verdict.FAILING, Verdict.DENIED))
_RETRY_AFTER_S = 2.0
_FIRST_GUESS_BYTES = 320 << 10
_BACKOFF = Backoff(first_s=0.1, limit_s=2.0)


class RecordWriter:
    """Writes one batch at a time through `client`, which stays its owner's to close."""

    def __init__(self, client: ElasticsearchClient, bounds: Bounds, metrics: ElasticsearchMetrics) -> None:
        self._client = client
        self._bounds = bounds
        self._metrics = metrics
        self._document_bytes = _FIRST_GUESS_BYTES

    async def write(self, events: Sequence[CloudEvent]) -> list[Result]:
        """What became of each event: an outcome, `MalformedEvent`, `EventRefused` or `SinkUnavailable`."""
        results: dict[int, Result] = {}
        group: dict[int, Progress] = {}
        documents, patience = 0, _Patience(self._bounds.give_up_s)
        for number, event in enumerate(events):
            plan = self._plan(event)
            if not isinstance(plan, Plan):
                results[number] = plan
                continue
            # a small event may be a window of many rows, so that plans are bounded apart from events
            if group and documents + len(plan.steps) > self._bounds.plan_documents:
                results |= await self._written(group, patience)
                group, documents = {}, 0
            group[number] = Progress(plan)
            documents += len(plan.steps)
        results |= await self._written(group, patience)
        return [results[number] for number in range(len(events))]

    async def _written(self, progresses: Mapping[int, Progress], patience: "_Patience") -> dict[int, Result]:
        """What became of some of a batch's events, by their number."""
        await self._settle(list(progresses.values()), patience)
        apart = {number: each for number, each in progresses.items() if each.conflicting}
        return {number: each.result() for number, each in progresses.items()} | await self._keep_apart(apart, patience)

    def _plan(self, event: CloudEvent) -> Plan | Result:
        try:
            return plan_of(event, self._client.names) or Outcome.IGNORED
        except MalformedEvent as exc:
            return exc

    async def _keep_apart(self, conflicts: dict[int, Progress], patience: "_Patience") -> dict[int, Result]:
        """Store events whose keys are known with other data; one that is kept already is a duplicate."""
        kept = {number: Progress(conflict_plan(each.plan, self._client.names)) for number, each in conflicts.items()}
        await self._settle(list(kept.values()), patience)
        results = {number: each.result() for number, each in kept.items()}
        return {number: Outcome.CONFLICT if found is Outcome.STORED else found for number, found in results.items()}

    async def _settle(self, progresses: Sequence[Progress], patience: "_Patience") -> None:
        """Bring every event into its documents, or give it a failure."""
        for items in slices(progresses, self._read_limit()):
            try:
                await self._settle_slice(Round(items), patience)
            except CallFailed as exc:  # what comes after has no better chance
                for progress in progresses:
                    progress.fail(SinkUnavailable(str(exc), _RETRY_AFTER_S))
                return

    def _read_limit(self) -> int:
        """How many documents are read together: few where they are large, as the last ones or failed reads tell."""
        return max(1, min(self._bounds.read_documents, self._bounds.read_bytes // self._document_bytes))

    def _note_sizes(self, request: Sequence[tuple[Write, bytes]]) -> None:
        """Remember how large documents are, and forget it slowly."""
        mean_bytes = sum(len(lines) for _, lines in request) // len(request)
        self._document_bytes = max(1, mean_bytes, self._document_bytes // 2)

    async def _settle_slice(self, work: Round, patience: "_Patience") -> None:
        while refs := work.refs():
            try:
                found = await self._client.read(refs)
            except CallFailed as exc:
                self._metrics.retries.labels(exc.verdict.value).inc()
                self._document_bytes = min(2 * self._document_bytes, self._bounds.read_bytes)
                if exc.verdict not in MAY_PASS_SOON or not await patience.wait():
                    raise
                continue
            unread = {ref: each for ref, each in found.items() if isinstance(each, Fate)}
            stored = {ref: each for ref, each in found.items() if not isinstance(each, Fate)}
            written = await self._write(work.writes(stored))
            work.settle(written)
            await self._before_next(work, unread | written, patience)

    async def _before_next(self, work: Round, fates: Fates, patience: "_Patience") -> None:
        """Wait where something has to be tried again, and give back what has been tried for too long."""
        again = {ref: fate for ref, fate in fates.items() if fate.verdict in _TRIED_AGAIN}
        for fate in again.values():
            self._metrics.retries.labels(fate.verdict.value).inc()
        if len(again) < len(fates):
            patience.renew()
        soon = again and (len(again) == len(fates) or any(fate.verdict in MAY_PASS_SOON for fate in again.values()))
        if not soon or await patience.wait():
            again = {}
        _give_back(work.items, again | {ref: fate for ref, fate in fates.items() if fate.verdict is Verdict.DENIED})

    async def _write(self, writes: Sequence[Write]) -> Fates:
        """Write in requests of bounded size; once one of them fails as a whole, the rest shares its fate unsent."""
        fates: Fates = {}
        failed: Fate | None = None
        for request in requests(writes, self._bounds.bulk_bytes):
            self._note_sizes(request)
            found = [failed] * len(request) if failed else await self._bulk([lines for _, lines in request])
            fates |= {write.ref: fate for (write, _), fate in zip(request, found, strict=True)}
            if all(fate.verdict in _WHOLE_FAILURES for fate in found):
                failed = found[0]
        self._metrics.documents.inc(sum(fate.verdict is Verdict.WRITTEN for fate in fates.values()))
        return fates

    async def _bulk(self, lines: Sequence[bytes]) -> list[Fate]:
        """One request; one that is too large is made as two."""
        try:
            with self._metrics.bulk_seconds.time():
                return await self._client.bulk(lines)
        except CallFailed as exc:
            failed = Fate(exc.verdict, str(exc))
        if failed.verdict is not Verdict.TOO_LARGE or len(lines) == 1:
            return [failed] * len(lines)
        self._metrics.retries.labels(failed.verdict.value).inc()
        half = len(lines) // 2
        return await self._bulk(lines[:half]) + await self._bulk(lines[half:])


def _give_back(items: Sequence[Item], fates: Fates) -> None:
    """Return the events of items whose documents were not written to their senders."""
    for item in items:
        if item.ref in fates:
            reason = f"Elasticsearch does not take it now: {fates[item.ref].reason}"
            item.progress.fail(SinkUnavailable(reason, _RETRY_AFTER_S))


class _Patience:
    """Pauses between tries, longer each time, up to `give_up_s` without a success."""

    def __init__(self, give_up_s: float) -> None:
        self._give_up_s = give_up_s
        self.renew()

    def renew(self) -> None:
        self._until_s = time.monotonic() + self._give_up_s
        self._failures = 0

    async def wait(self) -> bool:
        """Pause before another try; False, at once, where that would be too late."""
        self._failures += 1
        pause_s = _BACKOFF.delay_s(self._failures)
        if time.monotonic() + pause_s > self._until_s:
            return False
        await asyncio.sleep(pause_s)
        return True

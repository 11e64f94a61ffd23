"""A verdict on the terms that adserver's command line can set: its type, its source, and a URL that is sent it, too.

Source: seldon-core, components/alibi-detect-server, `EventHandler.post`: posts the event to `reply_url`, then answers.
Invariant: an event is acknowledged only once `reply_url` has taken its verdict; until then its sender is told to send
it again, and the verdict of every delivery has the same id. A verdict's id stays ours whatever it is called.
"""

from collections.abc import Container
from dataclasses import dataclass, replace

from wayside.detectors.serving.answering import PLAIN, Answer, Answering, Wanted
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused, Sink, SinkUnavailable


@dataclass(frozen=True, slots=True)
class ReplyTerms:
    """What is written in the place of our own `type` and `source`, where it is given."""

    type: str | None = None
    source: str | None = None

    @property
    def change_nothing(self) -> bool:
        return self.type is None and self.source is None

    def apply(self, verdict: CloudEvent) -> CloudEvent:
        return replace(verdict, type=self.type or verdict.type, source=self.source or verdict.source)


OWN_TERMS = ReplyTerms()


class Reworded(Answering):
    """Another detector's answers on these terms; `sink`, which stays the caller's, takes them before they are given."""

    def __init__(self, answering: Answering, terms: ReplyTerms, sink: Sink | None = None) -> None:
        self._answering = answering
        self._terms = terms
        self._sink = sink

    @property
    def types(self) -> Container[str]:
        return self._answering.types

    @property
    def metrics(self) -> DetectorMetrics:
        return self._answering.metrics

    @property
    def may_drop(self) -> bool:
        return self._answering.may_drop

    async def answer(self, event: CloudEvent, wanted: Wanted = PLAIN) -> Answer:
        """Raises what the detector raises, and `SinkUnavailable` where the sink did not take the verdict."""
        answer = await self._answering.answer(event, wanted)
        if answer.reply is None:
            return answer
        verdict = self._terms.apply(answer.reply)
        await self._post(verdict)
        return replace(answer, reply=verdict)

    async def _post(self, verdict: CloudEvent) -> None:
        if self._sink is None:
            return
        try:
            await self._sink.send(verdict)
        except EventRefused as exc:  # whoever set --reply_url can mend it; until then the verdict is not lost
            raise SinkUnavailable(str(exc)) from exc

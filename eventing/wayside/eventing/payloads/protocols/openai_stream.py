"""A streamed answer as the whole that it makes up: server-sent events of chunks, joined choice by choice.

Source: WHATWG HTML, "Server-sent events", on lines and fields; OpenAI's API reference, "Streaming", on chunks.
Invariant: time and memory are linear in the stream, however many pieces it came in.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads import json_body
from wayside.eventing.payloads.payload import Limits, Tree
from wayside.eventing.payloads.protocols.chat import merged_calls

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BOM: Final = b"\xef\xbb\xbf"
_DONE: Final = b"[DONE]"
_TEXTS: Final = ("content", "reasoning_content", "reasoning", "refusal")


@dataclass(slots=True)
class _Choice:
    """The pieces of one choice so far. `texts` holds them by member; `text` is a completion's."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    calls: list[Tree] = field(default_factory=list)
    finish_reason: Tree = None

    def add(self, name: str, piece: Tree) -> None:
        if isinstance(piece, str):
            self.texts.setdefault(name, []).append(piece)

    def whole(self, index: int) -> dict[str, Tree]:
        """The choice as a response that is no stream has it."""
        texts = {name: "".join(pieces) for name, pieces in self.texts.items()}
        told: dict[str, Any] = {"index": index, "finish_reason": self.finish_reason}
        if "text" in texts:
            return {**told, "text": texts["text"]}
        calls = {"tool_calls": merged_calls(iter(self.calls))} if self.calls else {}
        return {**told, "message": {**texts, **calls}}


def join(body: bytes, limits: Limits) -> Mapping[str, Tree]:
    """The response as if it had not been streamed. `ended` is False where no `[DONE]` came.

    Raises `MalformedPayload` with the number of the event that is no chunk, and where there is none at all.
    """
    choices: dict[int, _Choice] = {}
    told: dict[str, Tree] = {"ended": False}
    for at, data in enumerate(_events(body)):
        if data.strip() == _DONE:
            told["ended"] = True
            break
        try:
            chunk = json_body.load(data, limits)
            _add(chunk, choices, limits)
        except MalformedPayload as exc:
            raise MalformedPayload(f"event {at} of the stream: {exc}") from exc
        told = {name: chunk[name] for name in ("id", "model") if chunk.get(name)} | told
    if not choices:
        raise MalformedPayload("stream has no chunk with a choice")
    return {**told, "choices": [choices[index].whole(index) for index in sorted(choices)]}


def _events(body: bytes) -> Iterator[bytes]:
    """The data of each event; one that the end of the stream cut off is dropped, as the standard says."""
    lines: list[bytes] = []
    for line in _LINE_END.split(body.removeprefix(_BOM)):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
        elif not line and lines:
            yield b"\n".join(lines)
            lines = []


def _add(chunk: Tree, choices: dict[int, _Choice], limits: Limits) -> None:
    parts = chunk.get("choices") if isinstance(chunk, dict) else None
    if not isinstance(parts, list):
        raise MalformedPayload("it is no chunk with 'choices'")
    for part in parts:
        index = part.get("index", 0) if isinstance(part, dict) else None
        if type(index) is not int:
            raise MalformedPayload("it has a choice without an index")
        if index not in choices and len(choices) == limits.rows:
            raise MalformedPayload(f"there are more than {limits.rows} choices")
        _add_piece(choices.setdefault(index, _Choice()), part)


def _add_piece(choice: _Choice, part: Mapping[str, Tree]) -> None:
    choice.add("text", part.get("text"))
    choice.finish_reason = part.get("finish_reason") or choice.finish_reason
    delta = part.get("delta")
    if isinstance(delta, dict):
        for name in _TEXTS:
            choice.add(name, delta.get(name))
        calls = delta.get("tool_calls")
        choice.calls.extend(calls if isinstance(calls, list) else ())

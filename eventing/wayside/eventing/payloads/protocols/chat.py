"""Chat messages as text: what was said, by whom, in words that a text model or a person reads.

Source: OpenAI's API reference, "Chat Completions": messages, content parts, tool calls.
Invariant: files and images stay out of the text; of a data: URL its media type is told, nothing more.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import Tree
from wayside.eventing.payloads.protocols.members import type_word
from wayside.eventing.payloads.tensors import plain

ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_URL_CHARACTERS: Final = 256


def conversation(messages: Sequence[Tree]) -> Mapping[str, str]:
    """`messages`: all of them, each behind its role; and by each known role that speaks, its own words.

    Raises `MalformedPayload` with the message that is none.
    """
    lines: list[str] = []
    by_role: dict[str, list[str]] = {}
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise MalformedPayload(f"message {at} is not an object with a 'role'")
        words = spoken(message)
        lines.append(f"{message['role']}: {words}")
        by_role.setdefault(message["role"], []).append(words)
    return {"messages": "\n".join(lines)} | {role: "\n".join(by_role[role]) for role in ROLES if role in by_role}


def spoken(message: Mapping[str, Tree]) -> str:
    """A message's content, and the calls that it makes as JSON."""
    parts = [content_text(message.get("content")), tool_calls(message)]
    return "\n".join(part for part in parts if part)


def content_text(content: Tree) -> str | None:
    """A content's text; of parts that are no text a mark such as `[image_url image/png]`. None where there is none."""
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise MalformedPayload(f"a message's content is {type_word(content)}, expected text or a list of parts")
    return "\n".join(_part(part) for part in content)


def _part(part: Tree) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise MalformedPayload(f"a part of a message's content is {type_word(part)}, expected text or an object")
    if isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part.get("type"), str) else "part"
    return f"[{kind}{_address(part.get('image_url'))}]"


def _address(image: Tree) -> str:
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        return ""
    if url.startswith("data:"):
        return " " + url[len("data:") : _URL_CHARACTERS].split(";", 1)[0].split(",", 1)[0]
    return " " + url[:_URL_CHARACTERS]


def tool_calls(message: Mapping[str, Tree]) -> str | None:
    """The calls that a message makes, as JSON text; None where it makes none."""
    calls = message.get("tool_calls") or message.get("function_call")
    return json.dumps(plain(calls), ensure_ascii=False) if calls else None


def merged_calls(fragments: Iterator[Tree]) -> list[dict[str, Any]]:
    """The tool calls of a stream: fragments by index, names first, arguments piece by piece."""
    calls: dict[Any, dict[str, Any]] = {}
    pieces: dict[Any, list[str]] = {}
    for fragment in fragments:
        if not isinstance(fragment, dict) or not isinstance(fragment.get("index", 0), int):
            raise MalformedPayload("a fragment of a tool call is no object with an index")
        index = fragment.get("index", 0)
        call = calls.setdefault(index, {"function": {}})
        call.update({key: value for key, value in fragment.items() if key not in ("index", "function")})
        function = fragment.get("function")
        if isinstance(function, dict):
            call["function"].update({key: value for key, value in function.items() if key != "arguments"})
            if isinstance(function.get("arguments"), str):
                pieces.setdefault(index, []).append(function["arguments"])
    for index, texts in pieces.items():
        calls[index]["function"]["arguments"] = "".join(texts)
    return [calls[index] for index in sorted(calls)]

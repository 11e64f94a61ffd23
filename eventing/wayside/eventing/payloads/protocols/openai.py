"""OpenAI-style bodies as columns: chat, completions, embeddings, re-ranking, and answers sent as a stream.

Source: OpenAI's API reference, as KServe's Hugging Face runtime and vLLM serve it; re-ranking as Jina's and vLLM's API;
Triton's generate extension (extension_generate.md); Hugging Face TGI's `generated_text`.
Invariant: a chat is one row. Prompts, embeddings and documents are rows by their index; so are a completion's choices,
for a response does not say how many choices each prompt has.
"""

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from struct import iter_unpack
from types import MappingProxyType
from typing import Any, Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import Column, Kind, Limits, NumberBlock, Payload, Protocol, Tree
from wayside.eventing.payloads.protocols import chat, openai_stream
from wayside.eventing.payloads.protocols.members import text, type_word
from wayside.eventing.payloads.tensors import check_rows, column_of, columns_of, plain

_Columns = tuple[Column, ...]
_FLOAT_BYTES: Final = 4
_PLACES_LIMIT: Final = 10_000  # of a re-ranking's documents, where only the best were answered
_QUERY_CHARACTERS: Final = 1 << 24  # over all rows: the query stands beside each document


def claims(tree: Tree) -> bool:
    """Whether a document has the members of one of these requests or responses."""
    return isinstance(tree, dict) and _form(tree) is not None


def _form(tree: Mapping[str, Tree]) -> str | None:
    for name in ("messages", "choices"):
        if isinstance(tree.get(name), list | NumberBlock):
            return name
    for name in ("text_input", "text_output", "generated_text"):
        if name in tree:
            return name
    if "query" in tree and ("documents" in tree or "texts" in tree):
        return "query"
    if "prompt" in tree:
        return "prompt"
    if "input" in tree and "model" in tree:
        return "input"
    if _has_object(tree.get("results"), "index"):
        return "results"
    return "data" if _has_object(tree.get("data"), "embedding") else None


def _has_object(items: Tree, member: str) -> bool:
    return isinstance(items, list) and bool(items) and isinstance(items[0], dict) and member in items[0]


def read(tree: Tree, kind: Kind | None, limits: Limits) -> Payload:
    """The payload of a request or a response; `id` and `model` are the body's. Raises `MalformedPayload`."""
    form = _form(tree) if isinstance(tree, dict) else None
    if form is None:
        raise MalformedPayload("body is none of chat, completion, embedding or re-ranking, neither asked nor answered")
    told, reader = _FORMS[form]
    if kind not in (None, told):
        raise MalformedPayload(f"a {kind} was expected, and the body is a {told}: it has {form!r}")
    columns = reader(tree, limits)
    return Payload(Protocol.OPENAI, told, columns, id=text(tree.get("id")), model=text(tree.get("model")))


def read_stream(body: bytes, limits: Limits) -> Payload:
    """The response that a stream of server-sent events makes up: each choice's pieces joined, in order.

    Raises `MalformedPayload` with the event that is no chunk, or where there is none. A stream that ended before
    `[DONE]` is read as far as it came; its first column's note says so.
    """
    whole = openai_stream.join(body, limits)
    first, *others = _choices(whole, limits)
    if not whole["ended"]:
        first = replace(first, note="the stream ended before [DONE]")
    columns = (first, *others)
    return Payload(Protocol.OPENAI, Kind.RESPONSE, columns, id=text(whole.get("id")), model=text(whole.get("model")))


def _messages(tree: Mapping[str, Tree], limits: Limits) -> _Columns:
    if not tree["messages"]:
        raise MalformedPayload("'messages' is empty")
    said = chat.conversation(plain(tree["messages"]))
    return columns_of(((name, [words]) for name, words in said.items()), limits)


def _prompts(name: str) -> Callable[[Mapping[str, Tree], Limits], _Columns]:
    """A reader of the member `name`: a text, tokens, or a list of either, a row each."""

    def read_prompts(tree: Mapping[str, Tree], limits: Limits) -> _Columns:
        value = plain(tree[name])
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not value:
            raise MalformedPayload(f"{name!r} is {type_word(value)}, expected text, tokens, or a list of either")
        if all(type(token) is int for token in value):
            value = [value]
        if not all(isinstance(row, str | list) for row in value):
            raise MalformedPayload(f"{name!r} holds what is neither text nor a list of tokens")
        return (column_of(name, value, limits),)

    return read_prompts


def _choices(tree: Mapping[str, Tree], limits: Limits) -> _Columns:
    choices = _by_index("choices", tree["choices"], limits)
    if all("text" in choice for choice in choices):
        table = {"text": [choice["text"] for choice in choices], "finish_reason": _reasons(choices)}
        return columns_of(_filled(table), limits)
    said = [message for choice in choices if isinstance(message := choice.get("message"), dict)]
    if len(said) < len(choices):
        raise MalformedPayload("'choices' hold neither a 'text' nor a 'message' each")
    table = {
        "content": [chat.content_text(message.get("content")) for message in said],
        "reasoning": [message.get("reasoning_content") or message.get("reasoning") for message in said],
        "refusal": [message.get("refusal") for message in said],
        "tool_calls": [chat.tool_calls(message) for message in said],
        "finish_reason": _reasons(choices),
    }
    # One prompt was asked, so there is one row: several choices are entries of it.
    return columns_of(((name, values if len(said) == 1 else [values]) for name, values in _filled(table)), limits)


def _reasons(choices: Sequence[Mapping[str, Tree]]) -> list[Tree]:
    return [choice.get("finish_reason") for choice in choices]


def _filled(table: Mapping[str, Sequence[Tree]]) -> list[tuple[str, Sequence[Tree]]]:
    """The columns that say anything; the first always."""
    named = list(table.items())
    return named[:1] + [(name, values) for name, values in named[1:] if any(value is not None for value in values)]


def _by_index(name: str, items: Tree, limits: Limits) -> list[dict[str, Tree]]:
    """Objects in the order of their `index`, or as they stand where they have none."""
    if not isinstance(items, list) or not items:
        raise MalformedPayload(f"{name!r} is no list of objects, or is empty")
    check_rows(items, limits)
    if not all(isinstance(item, dict) for item in items):
        raise MalformedPayload(f"{name!r} holds what is no object")
    indices = [item.get("index", at) for at, item in enumerate(items)]
    if not all(type(index) is int for index in indices) or len(set(indices)) < len(indices):
        raise MalformedPayload(f"{name!r} have no index of their own each")
    return [item for _, item in sorted(zip(indices, items, strict=True), key=lambda pair: pair[0])]


def _embeddings(tree: Mapping[str, Tree], limits: Limits) -> _Columns:
    rows = [_embedding(at, item.get("embedding")) for at, item in enumerate(_by_index("data", tree["data"], limits))]
    return (column_of("embedding", rows, limits),)


def _embedding(row: int, value: Tree) -> Tree:
    """The numbers of one embedding; as base64 they are FP32, little-endian."""
    if not isinstance(value, str):
        return value
    try:
        packed = b64decode(value, validate=True)
    except ValueError as exc:
        raise MalformedPayload(f"row {row}: 'embedding' is not base64: {exc}") from exc
    if len(packed) % _FLOAT_BYTES:
        raise MalformedPayload(f"row {row}: 'embedding' has {len(packed)} bytes, no whole number of FP32 values")
    return [number for (number,) in iter_unpack("<f", packed)]


def _query(tree: Mapping[str, Tree], limits: Limits) -> _Columns:
    name = "documents" if "documents" in tree else "texts"
    documents, query = plain(tree[name]), _document(tree["query"])
    if not isinstance(documents, list) or not isinstance(query, str):
        wrong, expected = ("query", "text") if isinstance(documents, list) else (name, "a list of documents")
        raise MalformedPayload(f"{wrong!r} is {type_word(tree[wrong])}, expected {expected}")
    rows = [_document(document) for document in documents]
    if len(query) * len(rows) > _QUERY_CHARACTERS:
        raise MalformedPayload(f"a query of {len(query)} characters is too long to stand beside {len(rows)} documents")
    return columns_of([("query", [query] * len(rows)), ("document", rows)], limits)


def _document(document: Tree) -> Tree:
    return document["text"] if isinstance(document, dict) and isinstance(document.get("text"), str) else document


def _results(tree: Mapping[str, Tree], limits: Limits) -> _Columns:
    """Scores by the documents' index, so that row and document agree; a document before the last of the best that is
    not among them has nulls.
    """
    found: dict[Any, dict[str, Tree]] = {
        item.get("index"): item for item in _by_index("results", tree["results"], limits)
    }
    if None in found or min(found) < 0 or max(found) >= max(len(found), _PLACES_LIMIT):
        raise MalformedPayload(f"'results' need an 'index' each, from 0 and below {_PLACES_LIMIT}")
    results = [found.get(index, {}) for index in range(max(found) + 1)]
    table: Mapping[str, list[Any]] = {
        "relevance_score": [item.get("relevance_score", item.get("score")) for item in results],
        "index": [item.get("index") for item in results],
        "document": [_document(item.get("document")) for item in results],
    }
    return columns_of(_filled(table), limits)


_FORMS: Final[Mapping[str, tuple[Kind, Callable[[Mapping[str, Tree], Limits], _Columns]]]] = MappingProxyType(
    {
        "messages": (Kind.REQUEST, _messages),
        "prompt": (Kind.REQUEST, _prompts("prompt")),
        "input": (Kind.REQUEST, _prompts("input")),
        "text_input": (Kind.REQUEST, _prompts("text_input")),
        "text_output": (Kind.RESPONSE, _prompts("text_output")),
        "generated_text": (Kind.RESPONSE, _prompts("generated_text")),
        "query": (Kind.REQUEST, _query),
        "choices": (Kind.RESPONSE, _choices),
        "data": (Kind.RESPONSE, _embeddings),
        "results": (Kind.RESPONSE, _results),
    }
)

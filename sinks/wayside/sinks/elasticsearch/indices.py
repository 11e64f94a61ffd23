"""The names of indices and the shape of their documents: daily, with explicit mappings, nothing guessed from data.

Invariant: whatever a payload holds changes no mapping and fails none: instances are kept, not parsed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wayside.eventing.vocabulary import GRPC_STATUS, LATENCY_MS, REDACTION, STATUS_CODE, TRUNCATED
from wayside.sinks.document import SERVICE_FIELDS
from wayside.sinks.merging import BOOKKEEPING

Mappings = Mapping[str, Any]
_PRIORITY = 300
_VERSION = 5


@dataclass(frozen=True, slots=True)
class DocumentRef:
    """Where a document stands."""

    index: str
    id: str


@dataclass(frozen=True, slots=True)
class IndexNames:
    """The indices under one prefix, by kind and by the day of a time, which is in UTC as `format_time` writes it."""

    prefix: str

    def daily(self, kind: str, time: str) -> str:
        return f"{self.prefix}-{kind}-{time[:10].replace('-', '.')}"

    def pattern(self, kind: str) -> str:
        """The pattern of all days' indices of a kind; no other kind's matches it."""
        return f"{self.prefix}-{kind}-*"


# Longer ids and names are kept, and only not found by searching for them.
_KEYWORD: Mappings = {"type": "keyword", "ignore_above": 1024}
_DATE: Mappings = {"type": "date", "ignore_malformed": True}
_DOUBLE: Mappings = {"type": "double"}
_LONG: Mappings = {"type": "long"}
_KEPT: Mappings = {"type": "object", "enabled": False}


def _object(**fields: Mappings) -> Mappings:
    return {"type": "object", "dynamic": "false", "properties": fields}


_SIDE = {
    "type": "object",
    "dynamic": "false",
    "properties": {
        **dict.fromkeys(("instance", "elements", "names"), _KEPT),
        "dataType": _KEYWORD,
        "ce-time": _DATE,
        **dict.fromkeys(("ce-source", "ce-id"), _KEYWORD),
        **dict.fromkeys((STATUS_CODE, GRPC_STATUS), _LONG),
        LATENCY_MS: _DOUBLE,
        TRUNCATED: {"type": "boolean"},
        REDACTION: _KEYWORD,
    },
}
# `feedback_sides` lets numbers through alone as a reward: an object would fail the document; the truth may be anything
_FEEDBACK = _object(
    **{"ce-time": _DATE, "ce-source": _KEYWORD, "ce-id": _KEYWORD},
    reward={"type": "double", "ignore_malformed": True},
    truth=_KEPT,
)
_META = _object(name=_KEYWORD, detector_type=_KEYWORD, artifact_digest=_KEYWORD, alpha=_DOUBLE)
_WINDOW = {"first": _LONG, "end": _LONG, "time": _DATE}
_STRETCH = {"rows": _LONG, "from": _DATE, "to": _DATE}
_DRIFT_DATA = {"is_drift": _LONG, "p_val": _DOUBLE, "threshold": _DOUBLE, "distance": _DOUBLE, "error": _KEYWORD}
_BUDGET = _object(**dict.fromkeys(("level", "spent", "total"), _DOUBLE))
# a feature's values are quantiles or shares: shown, and not found by searching
_FEATURES = _object(
    **{"name": _KEYWORD, "is_drift": _LONG, "distance": _DOUBLE, "p_val": _DOUBLE},
    **dict.fromkeys(("reference", "window"), _KEPT),
)
_WINDOW_DATA = {
    **_DRIFT_DATA,
    "window": _object(**_WINDOW, **_STRETCH),
    **dict.fromkeys(("feature_distance", "feature_p_val"), _DOUBLE),
    "budget": _BUDGET,
    "reference": _KEYWORD,
    "features": _FEATURES,
    **dict.fromkeys(("missing", "tests", "comparison"), _KEPT),
}
_EVIDENCE = _object(
    verdict=_KEYWORD,
    window=_object(first=_LONG, end=_LONG, **_STRETCH),
    **dict.fromkeys(("statistic", "p_val"), _DOUBLE),
    budget=_BUDGET,
    features=_FEATURES,
)
_HISTORY = _object(
    **dict.fromkeys(("state", "severity", "features", "ce-source", "ce-id"), _KEYWORD),
    time=_DATE,
    end=_LONG,
    p_val=_DOUBLE,
)


def _row_verdict(decision: str) -> Mappings:
    numbers = dict.fromkeys(("instance_score", "p_value", "threshold"), _DOUBLE)
    data = _object(**{decision: _LONG}, **numbers)
    return _object(data=data, meta=_META, others=_object(data=data, meta=_META))


def _document(**fields: Mappings) -> Mappings:
    return {"dynamic": "false", "properties": {"@timestamp": _DATE, **fields, BOOKKEEPING: _KEPT}}


_HEAD = dict.fromkeys(("RequestId", "ServingEngine", *SERVICE_FIELDS, "revision", "requestid", "clientceid"), _KEYWORD)
MAPPINGS: Mapping[str, Mappings] = {
    "records": _document(
        **_HEAD,
        request=_SIDE,
        response=_SIDE,
        outlier=_row_verdict("is_outlier"),
        adversarial=_row_verdict("is_adversarial"),
        drift=_object(data=_object(**_DRIFT_DATA, window=_object(**_WINDOW)), meta=_META),
        feedback=_FEEDBACK,
    ),
    "windows": _document(
        **dict.fromkeys((*SERVICE_FIELDS, "revision"), _KEYWORD),
        drift=_object(data=_object(**_WINDOW_DATA), meta=_META),
    ),
    "alerts": _document(
        **dict.fromkeys(("alert", "state", "severity", *SERVICE_FIELDS, "revision"), _KEYWORD),
        **dict.fromkeys(("opened", "updated", "resolved"), _DATE),
        **dict.fromkeys(("windows", "quiet"), _LONG),
        evidence=_EVIDENCE,
        history=_HISTORY,
        records=_KEPT,
        meta=_META,
    ),
    "conflicts": _document(
        **dict.fromkeys(("source", "id", "type", "digest"), _KEYWORD), attributes=_KEPT, data_base64=_KEPT
    ),
}


def template(names: IndexNames, kind: str) -> dict[str, Any]:
    """The index template of one kind of index, as `PUT _index_template` takes it."""
    return {
        "index_patterns": [names.pattern(kind)],
        "priority": _PRIORITY,
        "version": _VERSION,
        "template": {"mappings": MAPPINGS[kind]},
        "_meta": {"description": f"{kind} of Wayside, one index a day of request time"},
    }


def shape_faults(needed: Mappings, found: Mappings, path: str = "") -> Iterator[str]:
    """Where the mappings of an index are not the needed ones; fields beside the needed ones are no fault."""
    there = found.get("properties", {})
    for name, field in needed.get("properties", {}).items():
        where = f"{path}{name}"
        if name not in there:
            yield f"field {where!r} is not mapped, and should be {_kind(field)}"
        elif _kind(there[name]) != _kind(field):
            yield f"field {where!r} is {_kind(there[name])}, and should be {_kind(field)}"
        else:
            yield from shape_faults(field, there[name], f"{where}.")


def source_faults(found: Mappings) -> Iterator[str]:
    """Where an index would change or forget what was written: documents are read to be merged."""
    source = found.get("_source", {})
    if source.get("enabled", True) in (False, "false") or set(source) - {"enabled"}:
        yield "its '_source' is not kept as it was written"


def _kind(field: Mappings) -> str:
    kept = field.get("enabled", True) in (False, "false")
    return f"{field.get('type', 'object')}{' (not enabled)' if kept else ''}"

"""Events of CloudEvents 0.1, 0.2 and 0.3, as older KServe, Seldon and Knative sent them, raised to 1.0 and marked so.

Source: cloudevents/spec tags v0.1, v0.2 and v0.3; cloudevents/sdk-go 0.10.1 (event contexts and HTTP codecs).
Invariant: nothing is lost. An attribute that 1.0 does not know becomes an extension, and `upgradedfrom` names the
version that the event came in. What was raised is a 1.0 event: raising it again changes nothing.
"""

import re
from collections.abc import Mapping

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import OPTIONAL, REQUIRED, SPECVERSION, CloudEvent
from wayside.eventing.vocabulary import UPGRADED_FROM

# what stands before the name of an entry of the `extensions` bag; 0.1 puts it into header names too
BAG_PREFIX = "x-"
# 0.3: the data is text that holds the bytes as base64
DATA_ENCODING = "datacontentencoding"
_FIRST_VERSION = "cloudeventsversion"
_CORE: Mapping[str, str] = {
    **{name: name for name in (*REQUIRED, *OPTIONAL)},
    "eventid": "id",
    "eventtype": "type",
    "eventtime": "time",
    "contenttype": "datacontenttype",
    "schemaurl": "dataschema",
}
# the names that a version has for what 1.0 knows; Seldon's engine sent 0.2 with a name of 0.1, so all are understood
_NATIVE: Mapping[str, frozenset[str]] = {
    "0.1": frozenset(("source", "eventid", "eventtype", "eventtime", "contenttype", "schemaurl")),
    "0.2": frozenset(("source", "id", "type", "time", "contenttype", "schemaurl")),
    "0.3": frozenset(("source", "id", "type", "time", "subject", "datacontenttype", "schemaurl")),
}
_RESERVED = frozenset((*REQUIRED, *OPTIONAL, "specversion", "data", UPGRADED_FROM))
_NOT_A_NAME = re.compile(r"[^a-z0-9]")


def event_of(attributes: Mapping[str, str], data: bytes) -> CloudEvent:
    """The event of these context attributes, of whichever version. Raises `MalformedEvent` as the event itself does."""
    if attributes.get("specversion") == SPECVERSION:
        return CloudEvent.from_attributes(attributes, data)
    return CloudEvent.from_attributes(upgrade(attributes), data)


def older_version(attributes: Mapping[str, object]) -> str | None:
    """ "0.1", "0.2" or "0.3" where the attributes say so; None for every other version."""
    version = attributes.get(_version_name(attributes))
    return version if isinstance(version, str) and version in _NATIVE else None


def _version_name(attributes: Mapping[str, object]) -> str:
    """The attribute that tells the version: 0.1 has one of its own, whose case HTTP does not keep."""
    if "specversion" in attributes:
        return "specversion"
    return next((name for name in attributes if name.lower() == _FIRST_VERSION), "specversion")


def upgrade(attributes: Mapping[str, str]) -> dict[str, str]:
    """The context attributes as 1.0 has them; those of 1.0, or of a version that nobody knows, as they are.

    Names are put into lower case and lose what 1.0 allows in none (`CE-X-TestExtension` is `testextension`, the map
    entry `ce-trace-id` is `traceid`). An extension whose name 1.0 gives another meaning, or that is taken, gets an `x`
    before it. Raises `MalformedEvent` where that name is taken too.
    """
    version = older_version(attributes)
    if version is None:
        return dict(attributes)
    told = _version_name(attributes)
    upgraded = {"specversion": SPECVERSION, UPGRADED_FROM: version}
    for given in sorted(attributes, key=lambda name: name.lower() not in _NATIVE[version]):
        if given != told:
            _place(upgraded, given.lower(), attributes[given])
    return upgraded


def _place(upgraded: dict[str, str], given: str, value: str) -> None:
    """Add an attribute under its name in 1.0. One that says again what is said already is no other attribute."""
    core = _CORE.get(given)
    if core is not None and upgraded.setdefault(core, value) == value:
        return
    name = _NOT_A_NAME.sub("", given.removeprefix(BAG_PREFIX))
    if upgraded.get(name) == value:
        return
    if name in _RESERVED or name in upgraded or not name:
        name = "x" + name
    if upgraded.setdefault(name, value) != value:
        raise MalformedEvent(f"two attributes are both named {name[:64]!r} in CloudEvents 1.0: rename one")

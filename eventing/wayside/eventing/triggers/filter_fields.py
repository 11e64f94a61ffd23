"""Reads the filter of a Trigger out of its `spec`: the array `filters`, or `filter.attributes`.

Source: Knative Eventing v1, pkg/apis/eventing/v1/trigger_validation.go and pkg/eventfilter/subscriptionsapi.
Invariant: what a filter says is what is filtered. Knative skips a filter that it cannot make, with a warning, and so
delivers more than was asked for; here it is refused, with its place and the reason.
"""

from collections.abc import Callable, Mapping, Sequence

from wayside.eventing.cesql.expression import CesqlSyntaxError
from wayside.eventing.filters.all_of import AllOf
from wayside.eventing.filters.any_of import AnyOf
from wayside.eventing.filters.attribute import why_no_attribute
from wayside.eventing.filters.attributes import attributes
from wayside.eventing.filters.cesql import Cesql
from wayside.eventing.filters.everything import Everything
from wayside.eventing.filters.exact import exact
from wayside.eventing.filters.filter import Filter
from wayside.eventing.filters.negation import Negation
from wayside.eventing.filters.prefix import prefix
from wayside.eventing.filters.suffix import suffix
from wayside.eventing.triggers.fields import Fields

_COMPARED: Mapping[str, Callable[[Mapping[str, str]], Filter]] = {"exact": exact, "prefix": prefix, "suffix": suffix}
_NESTED: Mapping[str, Callable[[Sequence[Filter]], Filter]] = {"all": AllOf, "any": AnyOf}
_DIALECTS = (*_COMPARED, *_NESTED, "not", "cesql")
LIMIT_DEPTH, LIMIT_FILTERS, LIMIT_CHARACTERS = 16, 256, 4096


def read_filter(spec: Fields) -> Filter:
    """The one filter of a Trigger's `spec`: `filters` where the array is not empty, else `filter`, else everything.

    `filter` is checked even where `filters` override it. Raises `ConfigurationError`.
    """
    plain, listed = spec.child("filter"), spec.children("filters")
    values = _attributes(plain) if plain else {}
    if not listed:
        return attributes(values) if values else Everything()
    filters = _Reader().filters(listed, 1)
    return filters[0] if len(filters) == 1 else AllOf(filters, "filters")


def _attributes(trigger_filter: Fields) -> Mapping[str, str]:
    trigger_filter.allow(("attributes",))
    values = trigger_filter.child("attributes")
    return _compared(values, allow_empty=True) if values else {}


def _compared(values: Fields, allow_empty: bool = False) -> Mapping[str, str]:
    """The attributes that a filter names, each with its text. Raises `ConfigurationError`."""
    read: dict[str, str] = {}
    for name in values.names():
        problem = why_no_attribute(str(name))
        if problem or not isinstance(name, str):
            values.fail_key(name, problem or "is no text: put it in quotes")
        read[name] = values.any_text(name) if allow_empty else values.text(name)
        if len(read[name]) > LIMIT_CHARACTERS:
            values.fail(name, f"is longer than {LIMIT_CHARACTERS} characters")
    return read


class _Reader:
    """Makes the filters of one Trigger, and counts them."""

    def __init__(self) -> None:
        self._made = 0

    def filters(self, listed: Sequence[Fields], depth: int) -> list[Filter]:
        """The filters of a list that is not empty, `depth` levels down from the Trigger."""
        return [self._filter(one, depth) for one in listed]

    def _filter(self, fields: Fields, depth: int) -> Filter:
        self._check_bounds(fields, depth)
        dialect = _dialect(fields)
        if dialect in _COMPARED:
            return _COMPARED[dialect](_compared(_mapping(fields, dialect)))
        if dialect in _NESTED:
            nested = fields.children(dialect) or fields.fail(dialect, "is empty: it needs at least one filter")
            return _NESTED[dialect](self.filters(nested, depth + 1))
        if dialect == "not":
            return Negation(self._filter(_mapping(fields, dialect), depth + 1))
        return _cesql(fields)

    def _check_bounds(self, fields: Fields, depth: int) -> None:
        self._made += 1
        if self._made > LIMIT_FILTERS:
            fields.refuse(f"is one filter too many: a Trigger may have {LIMIT_FILTERS}")
        if depth > LIMIT_DEPTH:
            fields.refuse(f"is nested more than {LIMIT_DEPTH} deep")


def _dialect(fields: Fields) -> str:
    """The one dialect of a filter; a dialect that is null is not there."""
    fields.allow(_DIALECTS)
    found = [dialect for dialect in _DIALECTS if fields.has(dialect)]
    if not found:
        fields.refuse(f"names no dialect: one of {', '.join(_DIALECTS)}")
    if len(found) > 1:
        fields.refuse(
            f"names {' and '.join(found)}: a filter has one dialect; put them into two filters, or into 'all'"
        )
    return found[0]


def _mapping(fields: Fields, dialect: str) -> Fields:
    mapping = fields.child(dialect)
    if mapping is None or mapping.is_empty:
        fields.fail(dialect, "is empty")
    return mapping


def _cesql(fields: Fields) -> Filter:
    try:
        return Cesql(fields.text("cesql"))
    except CesqlSyntaxError as exc:
        fields.fail("cesql", f"line {exc.line}, column {exc.column} of the expression: {exc.reason}")

"""What `attributes`, `exact`, `prefix` and `suffix` share: each named attribute is compared with a text.

Source: CloudEvents Subscriptions API, filter dialects; Knative Eventing v1.
Invariant: every comparison must hold, case counts, and an attribute that the event lacks never agrees with anything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wayside.eventing.event import CloudEvent
from wayside.eventing.filters.attribute import attribute_reader
from wayside.eventing.filters.compiled import Test, every
from wayside.eventing.filters.filter import shown


@dataclass(frozen=True, slots=True)
class Comparison:
    """`holds` of (the event's value, the wanted text), and the words for when it does and when it does not.

    The words may name {name}, {value} and {wanted}.
    """

    holds: Callable[[str, str], bool]
    agrees: str
    differs: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """One attribute, and what its value is compared with."""

    name: str
    comparison: Comparison
    text: str

    def test(self) -> Test:
        """The comparison as a function of the event."""
        read, holds, wanted = attribute_reader(self.name), self.comparison.holds, self.text

        def test(event: CloudEvent) -> bool:
            value = read(event)
            return value is not None and holds(value, wanted)

        return test

    def explain(self, event: CloudEvent) -> str:
        """What the comparison makes of the event's value."""
        value = attribute_reader(self.name)(event)
        if value is None:
            return f"the event has no attribute '{self.name}'"
        holds, wanted = self.comparison.holds, self.text
        words = self.comparison.agrees
        if not holds(value, wanted):
            nearly = holds(value.strip().casefold(), wanted.strip().casefold())
            words = self.comparison.differs + (" (case and spaces count)" if nearly else "")
        return words.format(name=self.name, value=shown(value), wanted=shown(wanted))


class AttributeFilter:
    """Passes an event all of whose named attributes agree with what is wanted of them."""

    __slots__ = ("_dialect", "_wanted", "passes")

    def __init__(self, dialect: str, wanted: Sequence[Wanted]) -> None:
        self._dialect = dialect
        self._wanted = tuple((one, one.test()) for one in wanted)
        self.passes = every([test for _, test in self._wanted])

    def explain(self, event: CloudEvent) -> str:
        """The first comparison that fails, or all of them."""
        agreed = []
        for wanted, test in self._wanted:
            reason = wanted.explain(event)
            if not test(event):
                return f"{self._dialect}: {reason}"
            agreed.append(reason)
        return f"{self._dialect}: {' and '.join(agreed) or 'every event passes'}"

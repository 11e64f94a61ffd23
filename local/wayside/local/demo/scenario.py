"""What the demo can show: a model, the rows that it is sent, and the script of its traffic.

Invariant: a scenario is data. All of them run through the same code, with the same phases and rules.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from wayside.local.demo.digits import Digits
from wayside.local.demo.phases import Phase, script
from wayside.local.demo.population import Population
from wayside.local.demo.tumours import Tumours


@dataclass(frozen=True, slots=True)
class Scenario:
    """`service` is the model's name; `row_kind` is the detector of rows that `wayside fit` makes for it."""

    service: str
    load: Callable[[int], Population]
    row_kind: str
    phases: Sequence[Phase]


SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "digits": Scenario("digits", Digits.load, "knn", script("digits", "Corrupted and foreign images")),
        "tabular": Scenario("tumours", Tumours.load, "mahalanobis", script("biopsies", "Corrupted measurements")),
    }
)

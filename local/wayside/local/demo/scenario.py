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
    """`service` is the model's name; `row_kind` is the detector of rows that `wayside fit` makes for it.

    `shift` says in words what moves in the shifted population, and `moved` which features that is: the names that a
    verdict gives them.
    """

    service: str
    load: Callable[[int], Population]
    row_kind: str
    phases: Sequence[Phase]
    shift: str
    moved: frozenset[str]


# Zeros, fours and sixes that lean to one side have their ink left of the middle, where others have paper, and none
# where the strokes of others cross.
_LEANING = "ink goes from the middle of the picture to the left of it"
_LEANING_PIXELS = frozenset(map(str, (2, 5, 12, 13, 20, 25, 26, 28, 30, 33, 34, 38, 41, 42)))
_SMALLER = "cells are smaller: radius, perimeter and area, and what goes with them"
_SIZES = frozenset(
    [f"{part}_{size}" for part in ("mean", "worst") for size in ("radius", "perimeter", "area")]
    + [f"{part}_{shape}" for part in ("mean", "worst") for shape in ("concavity", "concave_points", "compactness")]
    + ["area_error", "perimeter_error"]
)
SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "digits": Scenario(
            *("digits", Digits.load, "knn", script("digits", "Corrupted and foreign images")), _LEANING, _LEANING_PIXELS
        ),
        "tabular": Scenario(
            *("tumours", Tumours.load, "mahalanobis", script("biopsies", "Corrupted measurements")), _SMALLER, _SIZES
        ),
    }
)

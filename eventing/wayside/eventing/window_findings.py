"""What a window verdict tells besides its p-value: what it spent, which features moved, what was left out, and what the
tests and the groups in it said.

Invariant: `to_json` and `of_json` are inverse to each other, and equal values give equal text: numbers are finite, a
zero has no sign, and members stand in a fixed order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from wayside.eventing.checked_json import decision, member_list, members_of, number, number_or_none, position, text

Shares = Mapping[str, float]
"""The share of rows that has each of some categories."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What a window could spend of the budget of false alarms (`level`), what it did (`spent`: 0 where it was not
    judged), and what its series spent with it (`total`): as many false alarms are expected of it where nothing drifts.
    """

    level: float
    spent: float
    total: float

    def to_json(self) -> dict[str, Any]:
        """As the verdict's `budget` has it."""
        return {"level": self.level + 0.0, "spent": self.spent + 0.0, "total": self.total + 0.0}

    @classmethod
    def of_json(cls, value: object) -> Self:
        """Raises `KeyError`, `TypeError` or `ValueError`."""
        members = members_of(value)
        return cls(number(members["level"]), number(members["spent"]), number(members["total"]))


@dataclass(frozen=True, slots=True)
class MovedFeature:
    """A feature that moved: its distance, its p-value corrected for how many there are (Holm), whether that alone says
    drift, and what its values were in the reference and in the window: quantiles (5, 25, 50, 75, 95 %) or shares of
    categories; None where the feature has no value at all."""

    name: str
    is_drift: bool
    distance: float
    p_value: float
    reference: Sequence[float] | Shares | None
    window: Sequence[float] | Shares | None

    def to_json(self) -> dict[str, Any]:
        """As a member of the verdict's `features`."""
        return {
            "name": self.name,
            "is_drift": int(self.is_drift),
            "distance": self.distance + 0.0,
            "p_val": self.p_value + 0.0,
            "reference": _values_json(self.reference),
            "window": _values_json(self.window),
        }

    @classmethod
    def of_json(cls, value: object) -> Self:
        """Raises `KeyError`, `TypeError` or `ValueError`."""
        members = members_of(value)
        return cls(
            text(members["name"]),
            decision(members["is_drift"]),
            number(members["distance"]),
            number(members["p_val"]),
            _values_of(members["reference"]),
            _values_of(members["window"]),
        )


@dataclass(frozen=True, slots=True)
class MissingRows:
    """How many rows of the window miss a value, and how many were left out of the test."""

    rows: int
    dropped: int

    def to_json(self) -> dict[str, Any]:
        """As the verdict's `missing` has it."""
        return {"rows": self.rows, "dropped": self.dropped}

    @classmethod
    def of_json(cls, value: object) -> Self:
        """Raises `KeyError`, `TypeError` or `ValueError`."""
        members = members_of(value)
        return cls(position(members["rows"]), position(members["dropped"]))


@dataclass(frozen=True, slots=True)
class PartVerdict:
    """One of several tests of a window, or one group of its rows held against another: its p-value is corrected for how
    many there are (Holm). A group that was not tested has neither number, and `error` says why."""

    name: str
    is_drift: bool
    p_value: float | None
    distance: float | None
    rows: int | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As a member of the verdict's `tests`, or of the `groups` of its `comparison`."""
        said: dict[str, Any] = {
            "name": self.name,
            "is_drift": int(self.is_drift),
            "p_val": _unsigned(self.p_value),
            "distance": _unsigned(self.distance),
        }
        if self.rows is not None:
            said["rows"] = self.rows
        if self.error is not None:
            said["error"] = self.error
        return said

    @classmethod
    def of_json(cls, value: object) -> Self:
        """Raises `KeyError`, `TypeError` or `ValueError`."""
        members = members_of(value)
        rows, error = members.get("rows"), members.get("error")
        return cls(
            text(members["name"]),
            decision(members["is_drift"]),
            number_or_none(members["p_val"]),
            number_or_none(members["distance"]),
            None if rows is None else position(rows),
            None if error is None else text(error),
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Groups of a window's rows (revisions, endpoints) held against the `stable` one among them, of `rows` rows."""

    stable: str
    rows: int
    groups: Sequence[PartVerdict]

    def to_json(self) -> dict[str, Any]:
        """As the verdict's `comparison` has it."""
        return {"stable": self.stable, "rows": self.rows, "groups": [group.to_json() for group in self.groups]}

    @classmethod
    def of_json(cls, value: object) -> Self:
        """Raises `KeyError`, `TypeError` or `ValueError`."""
        members = members_of(value)
        groups = tuple(PartVerdict.of_json(group) for group in member_list(members["groups"]))
        return cls(text(members["stable"]), position(members["rows"]), groups)


@dataclass(frozen=True, slots=True)
class Findings:
    """What a verdict has only where there is something to tell."""

    features: Sequence[MovedFeature] = ()
    missing: MissingRows | None = None
    tests: Sequence[PartVerdict] = ()
    comparison: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """The members that they add to a verdict's data."""
        said: dict[str, Any] = {}
        if self.features:
            said["features"] = [feature.to_json() for feature in self.features]
        if self.missing is not None:
            said["missing"] = self.missing.to_json()
        if self.tests:
            said["tests"] = [test.to_json() for test in self.tests]
        if self.comparison is not None:
            said["comparison"] = self.comparison.to_json()
        return said

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> Self:
        """What a verdict's data has of them. Raises `KeyError`, `TypeError` or `ValueError`."""
        missing, comparison = data.get("missing"), data.get("comparison")
        return cls(
            tuple(MovedFeature.of_json(feature) for feature in member_list(data.get("features", []))),
            None if missing is None else MissingRows.of_json(missing),
            tuple(PartVerdict.of_json(test) for test in member_list(data.get("tests", []))),
            None if comparison is None else Comparison.of_json(comparison),
        )


def _unsigned(value: float | None) -> float | None:
    return None if value is None else value + 0.0


def _values_json(values: Sequence[float] | Shares | None) -> list[float] | dict[str, float] | None:
    if values is None:
        return None
    if isinstance(values, Mapping):
        return {name: share + 0.0 for name, share in values.items()}
    return [value + 0.0 for value in values]


def _values_of(value: object) -> tuple[float, ...] | dict[str, float] | None:
    if value is None:
        return None
    if isinstance(value, dict):
        return {text(name): number(share) for name, share in value.items()}
    return tuple(number(quantile) for quantile in member_list(value))

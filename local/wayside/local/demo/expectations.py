"""Was a phase seen for what it is? Pure rules over a phase's facts, with bounds that come from the promise itself.

Invariant: an honest run fails a rule in fewer than 1 of 1 000 runs, and a loop that keeps no promise fails it nearly
always. The bounds on false alarms are quantiles of the distributions that calibration promises: beta-binomial for rows
(the rate of one calibration set is Beta(k, n + 1 - k) distributed; Vovk 2012), Poisson for windows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from scipy.stats import betabinom, poisson

from wayside.detectors.drift.settings import Budget
from wayside.local.demo.facts import PhaseFacts
from wayside.local.demo.phases import Kind

_TAIL = 1e-4
_OUTLIER_SHARE = 0.5
_FEATURES_NAMED = 3
_ADDED_S, _ADDED_RATIO = 0.010, 1.5


@dataclass(frozen=True, slots=True)
class Promise:
    """What was asked for: `alpha` a row, with a threshold from `calibration_rows` rows held out; and `budget`, false
    alarms of windows in event time. `moved` are the features that the shifted population moves, `shift` says it in
    words."""

    alpha: float
    calibration_rows: int
    budget: Budget
    moved: frozenset[str]
    shift: str

    def flagged_range(self, scored: int) -> tuple[int, int]:
        """How few and how many of `scored` ordinary rows may be flagged."""
        k = int((self.calibration_rows + 1) * self.alpha)
        law = betabinom(scored, k, self.calibration_rows + 1 - k)
        return int(law.ppf(_TAIL)), int(law.ppf(1 - _TAIL))

    def drift_limit(self, lasts_s: float, windows: int) -> int:
        """How many of so many ordinary windows, in so many seconds of event time, may say drift."""
        expected = self.budget.false_alarms * (windows if self.budget.per_s is None else lasts_s / self.budget.per_s)
        return int(poisson.ppf(1 - _TAIL, expected))


@dataclass(frozen=True, slots=True)
class Seen:
    """Whether a phase was seen for what it is, and in words what was seen, or what was missed."""

    ok: bool
    words: str


def see(facts: PhaseFacts, promise: Promise) -> Seen:
    """Judge one phase by the rules of its kind."""
    missed = list(_missed(facts, promise))
    return Seen(not missed, "; ".join(missed) if missed else _seen_words(facts, promise))


def _missed(facts: PhaseFacts, promise: Promise) -> Iterator[str]:
    if not facts.scored or not facts.windows.whole:
        yield "no rows scored, or no window whole"
        return
    kind = Kind(facts.phase.kind)
    if kind in (Kind.ORDINARY, Kind.FAULT):
        yield from _missed_calm(facts, promise)
    if kind is Kind.OUTLIERS and facts.flagged_share < _OUTLIER_SHARE:
        yield f"only {facts.flagged_share:.0%} of the rows were flagged"
    if kind is Kind.SHIFT:
        yield from _missed_shift(facts, promise)
    if facts.dropped:
        yield f"{facts.dropped} events were dropped"
    if kind is Kind.FAULT:
        yield from _missed_flat(facts)


def _missed_calm(facts: PhaseFacts, promise: Promise) -> Iterator[str]:
    low, high = promise.flagged_range(facts.scored)
    if not low <= facts.flagged <= high:
        yield f"{facts.flagged} of {facts.scored} ordinary rows were flagged; {low} to {high} would keep the promise"
    limit = promise.drift_limit(facts.lasts_s, facts.windows.whole)
    if facts.windows.drift > limit:
        yield f"{facts.windows.drift} of {facts.windows.whole} ordinary windows say drift; {limit} at most"
    if facts.alerts.opened > limit:
        yield f"{facts.alerts.opened} alerts opened"
    if facts.alerts.resolved < facts.alerts.carried:
        yield "an alert that was open before did not resolve"


def _missed_shift(facts: PhaseFacts, promise: Promise) -> Iterator[str]:
    if 2 * facts.windows.drift <= facts.windows.whole:
        yield f"only {facts.windows.drift} of {facts.windows.whole} windows say drift"
    if facts.alerts.opened != 1:
        yield f"{facts.alerts.opened} alerts opened, where one should"
    first = facts.alerts.features[:_FEATURES_NAMED]
    wrong = [name for name in first if name not in promise.moved]
    if wrong or not first:
        yield f"the alert names {', '.join(wrong) or 'no feature'}, where {promise.shift}"


def _missed_flat(facts: PhaseFacts) -> Iterator[str]:
    if facts.through.failed:
        yield f"{facts.through.failed} requests failed"
    through_s, direct_s = facts.through.p50_s, facts.direct.p50_s
    if through_s is None or direct_s is None:
        yield "a route has no answer to compare"
    elif through_s > _ADDED_RATIO * direct_s + _ADDED_S:
        yield f"the median through the logger is {through_s * 1e3:.0f} ms, beside it {direct_s * 1e3:.0f} ms"


def _seen_words(facts: PhaseFacts, promise: Promise) -> str:
    kind = Kind(facts.phase.kind)
    if kind is Kind.OUTLIERS:
        return f"{facts.flagged_share:.0%} of the rows flagged"
    if kind is Kind.SHIFT:
        named = ", ".join(facts.alerts.features[:_FEATURES_NAMED])
        return f"one alert: {named} moved ({promise.shift})"
    if kind is Kind.FAULT:
        return "latency flat, nothing lost"
    return "quiet again, the alert resolved" if facts.alerts.resolved else "quiet"

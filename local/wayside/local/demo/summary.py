"""What a run of the demo comes to, as tables: a row a phase, the balance, a row a trigger.

Invariant: pure; the same facts give the same tables, on a terminal and in a log.
"""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wayside.local.balance import Balance
from wayside.local.demo.expectations import Seen
from wayside.local.demo.facts import PhaseFacts
from wayside.local.demo.ledger import RouteSummary
from wayside.local.demo.phases import Kind
from wayside.sinks.windows import ANY_FEATURE_P


def summarise(phases: Sequence[tuple[PhaseFacts, Seen]], balance: Balance, asked: str) -> RenderableType:
    """Everything that is shown after the last phase; `asked` says how many false alarms were asked for."""
    facts = [fact for fact, _ in phases]
    return Group(
        _phase_table(phases, asked), _rule_line(facts), "", *_balance_lines(balance), "", _trigger_table(balance)
    )


def _rule_line(facts: Sequence[PhaseFacts]) -> Text:
    """What the rule of most services would have made of the same windows."""
    calm = [fact for fact in facts if Kind(fact.phase.kind) in (Kind.ORDINARY, Kind.FAULT)]
    windows = sum(fact.windows.whole for fact in calm)
    alerts, alarms = sum(fact.alerts.opened for fact in calm), sum(fact.windows.any_feature for fact in calm)
    return Text(
        f"of {windows:,} windows of ordinary traffic {alerts:,} opened an alert;"
        f" an any-feature rule (p ≤ {ANY_FEATURE_P:g}) would have raised {alarms:,} alarms"
    )


def _phase_table(phases: Sequence[tuple[PhaseFacts, Seen]], asked: str) -> Table:
    table = Table(title=f"Phases (false alarms asked for: {asked})")
    table.add_column("phase")
    for column in ("rows", "flagged", "windows: drift/all", "p50/p99 ms with logger", "without", "dropped"):
        table.add_column(column, justify="right")
    table.add_column("seen for what it is")
    for facts, seen in phases:
        table.add_row(
            facts.phase.title,
            f"{facts.through.answered_rows:,}",
            f"{facts.flagged_share:.2%}",
            f"{facts.windows.drift}/{facts.windows.whole}",
            _latency(facts.through),
            _latency(facts.direct),
            str(facts.dropped),
            _mark(seen.ok, seen.words),
        )
    return table


def _latency(route: RouteSummary) -> str:
    if route.p50_s is None or route.p99_s is None:
        return "-"
    return f"{route.p50_s * 1e3:.0f}/{route.p99_s * 1e3:.0f}"


def _mark(ok: bool, words: str) -> Text:
    return Text(f"{'✓' if ok else '✗'} {words}", style="green" if ok else "bold red")


def _balance_lines(balance: Balance) -> list[RenderableType]:
    unanswered = f" (and {balance.unanswered:,} without a 200)" if balance.unanswered else ""
    equation = (
        f"balance: {balance.answered:,} rows answered 200 = {balance.recorded:,} recorded{unanswered}"
        f" = {balance.scored:,} scored = {balance.in_windows:,} in windows + {balance.open:,} in the open one"
        f"{f' + {balance.late:,} late' if balance.late else ''}"
        f"{f' + {balance.left_out:,} left out' if balance.left_out else ''}"
    )
    apart = f"apart: {balance.duplicates:,} duplicates, {balance.conflicts:,} conflicts, {balance.dropped:,} dropped"
    differences = [_mark(False, difference) for difference in balance.differences()]
    return [_mark(balance.holds, equation), Text(apart), *_replica_lines(balance), *differences]


def _replica_lines(balance: Balance) -> list[RenderableType]:
    return [
        _mark(replica.equal, f"{replica.name}: {replica.records:,} records, compared with the embedded store's")
        for replica in balance.replicas
    ]


def _trigger_table(balance: Balance) -> Table:
    kind = "consumer group" if all(trigger.attempts is None for trigger in balance.triggers) else "trigger"
    table = Table(title=f"{kind.capitalize()}s: matched = delivered + dead-lettered + waiting")
    for column in (kind, "matched", "delivered", "dead-lettered", "waiting", "attempts", ""):
        table.add_column(column, justify="left" if column in (kind, "") else "right")
    for trigger in balance.triggers:
        counts = (trigger.matched, trigger.delivered, trigger.dead_lettered, trigger.waiting, trigger.attempts)
        shown = ("-" if count is None else f"{count:,}" for count in counts)
        table.add_row(trigger.name, *shown, _mark(trigger.balances, ""))
    return table

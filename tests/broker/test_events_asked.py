"""Whatever the admin port is asked, each field is taken as what it is or refused by its name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.broker.events.asked import Asked
from wayside.eventing.http.admin import BadRequest

NAMES = ["trigger", "after", "dry_run", "order", "positions", "more"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["7", "true", "up"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


def take_all(fields: dict[str, Any]) -> tuple[Any, ...]:
    asked = Asked(fields)
    taken = (
        asked.take_text("trigger"),
        asked.take_whole("after", 0, 9),
        asked.take_flag("dry_run"),
        asked.take_choice("order", ("down", "up")),
        asked.take_positions("positions", 2),
    )
    asked.end()
    return taken


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), VALUES, max_size=4))
def test_a_field_is_taken_or_refused_by_name(fields: dict[str, Any]) -> None:
    refusal = ""
    try:
        trigger, after, dry_run, order, positions = take_all(fields)
    except BadRequest as exc:
        refusal = str(exc)
    if refusal:
        assert refusal.startswith(("unknown field ", *(f"{name}: " for name in fields)))
        return
    assert set(fields) <= set(NAMES[:-1])
    assert trigger is None or isinstance(trigger, str)
    assert after is None or (type(after) is int and 0 <= after <= 9)
    assert type(dry_run) is bool
    assert order in ("down", "up")
    assert positions is None or (len(positions) <= 2 and all(type(one) is int for one in positions))


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({}, (None, None, False, "down", None)),
        (
            {"trigger": "t", "after": 3, "dry_run": True, "order": "up", "positions": [1, 2]},
            ("t", 3, True, "up", [1, 2]),
        ),
        ({"after": "3", "dry_run": "false"}, (None, 3, False, "down", None)),  # as a URL's query has them
        (dict.fromkeys(NAMES[:-1]), (None, None, False, "down", None)),
    ],
)
def test_what_is_taken(fields: dict[str, Any], taken: tuple[Any, ...]) -> None:
    assert take_all(fields) == taken

"""The benchmark of filters runs every dialect, and each case does what its columns say."""

from filters import CASES, EVENTS, filter_of, rows


def test_every_case_passes_the_one_event_and_all_with_a_filter_fail_the_other() -> None:
    passing, failing = EVENTS
    for case in CASES:
        made = filter_of(case)
        assert made.passes(passing), case.dialect
        assert made.passes(failing) is (case.dialect == "none"), case.dialect


def test_a_row_for_each_case_beside_its_target() -> None:
    printed = list(rows(number=10))
    assert [row[0] for row in printed] == [case.dialect for case in CASES]
    assert [row[3] for row in printed if row[3]] == ["500,000"] * 3 + ["300,000"]
    assert all(row[4] in ("met", "short") for row in printed if row[3])

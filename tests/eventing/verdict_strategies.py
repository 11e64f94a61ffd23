"""Window verdicts and alerts of every form, and one of each by hand."""

from dataclasses import replace

from hypothesis import strategies as st

from wayside.eventing.alert import AlertEvent, AlertEvidence, AlertState, Severity
from wayside.eventing.verdict import DetectorIdentity
from wayside.eventing.vocabulary import ServiceKey
from wayside.eventing.window_findings import (
    Comparison,
    Findings,
    MissingRows,
    MovedFeature,
    PartVerdict,
    Spending,
)
from wayside.eventing.window_verdict import RowRange, Stretch, WindowVerdict

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SHARES = st.floats(0, 1)
NAMES = st.text(min_size=1, max_size=3)
TEXTS = st.text(max_size=3)
TIMES = st.sampled_from(["2024-01-02T03:04:05Z", "2024-01-02T03:04:05.123456789+05:30"])
_POSITIONS = st.integers(0, (1 << 62) - 1)
_COUNTS = st.integers(0, 1 << 40)
KEYS = st.builds(ServiceKey, TEXTS, TEXTS, TEXTS, TEXTS)
REVISIONS = st.sampled_from(["", "digits-00001", "a/b%"])
DETECTORS = st.builds(DetectorIdentity, NAMES, st.just("ks"), st.just("ab" * 32), SHARES)
SPENDINGS = st.builds(Spending, SHARES, SHARES, st.floats(0, 1e9))
_STRETCHES = st.builds(Stretch, TIMES, TIMES)
_VALUES = st.none() | st.tuples(*[NUMBERS] * 5) | st.dictionaries(TEXTS, SHARES, max_size=3)
_FEATURES = st.lists(st.builds(MovedFeature, TEXTS, st.booleans(), NUMBERS, SHARES, _VALUES, _VALUES), max_size=3).map(
    tuple
)
_PARTS = st.lists(
    st.builds(
        *(PartVerdict, TEXTS, st.booleans(), st.none() | SHARES, st.none() | NUMBERS),
        *(st.none() | _COUNTS, st.none() | TEXTS),
    ),
    max_size=3,
).map(tuple)
_MEMBERS = st.builds(RowRange, NAMES, NAMES, _POSITIONS, st.integers(1, (1 << 63) - 1), TIMES)
FINDINGS = st.builds(
    Findings,
    _FEATURES,
    st.none() | st.builds(MissingRows, _COUNTS, _COUNTS),
    _PARTS,
    st.none() | st.builds(Comparison, TEXTS, _COUNTS, _PARTS),
)


@st.composite
def window_verdicts(draw: st.DrawFn) -> WindowVerdict:
    """Judged, or not judged with or without a test."""
    first = draw(_POSITIONS)
    error = draw(st.none() | NAMES)
    is_tested = error is None or draw(st.booleans())
    return WindowVerdict(
        key=draw(KEYS),
        first=first,
        end=first + draw(st.integers(1, 1 << 40)),
        time=draw(TIMES),
        is_drift=error is None and draw(st.booleans()),
        p_value=draw(SHARES) if is_tested else None,
        threshold=draw(SHARES),
        distance=draw(NUMBERS) if is_tested else None,
        feature_distance=draw(st.lists(NUMBERS, max_size=3)),
        feature_p_value=draw(st.lists(SHARES, max_size=3)),
        members=draw(st.lists(_MEMBERS, min_size=1, max_size=3)),
        revision=draw(REVISIONS),
        error=error,
        stretch=draw(st.none() | _STRETCHES),
        spending=draw(st.none() | SPENDINGS),
        reference=draw(st.sampled_from(["", "cd" * 32])),
        findings=draw(FINDINGS),
    )


@st.composite
def alert_events(draw: st.DrawFn) -> AlertEvent:
    """In any state."""
    state, time = draw(st.sampled_from(AlertState)), draw(TIMES)
    is_resolved = state is AlertState.RESOLVED
    evidence = st.builds(
        *(AlertEvidence, NAMES, _POSITIONS, st.integers(1 << 62, (1 << 63) - 1), _STRETCHES),
        *(NUMBERS, SHARES, SPENDINGS, _FEATURES),
    )
    return replace(
        ALERT,
        state=state,
        severity=draw(st.sampled_from(Severity)),
        key=draw(KEYS),
        revision=draw(REVISIONS),
        opened=draw(TIMES),
        updated=time,
        resolved=draw(TIMES) if is_resolved else None,
        windows=draw(st.integers(1, 1 << 40)),
        quiet=draw(st.integers(1, 1000)) if is_resolved else 0,
        evidence=draw(evidence),
        records=tuple(draw(st.lists(st.tuples(NAMES, NAMES, _POSITIONS), max_size=3))),
    )


KEY = ServiceKey("ns", "digits", "predictor", "default")
DETECTOR = DetectorIdentity("drift", "ks", "ab" * 32, 0.01)
TIME = "2024-01-02T03:04:05Z"
_FEATURE = MovedFeature("age", True, 0.5, 0.001, (1.0, 2.0, 3.0, 4.0, 5.0), None)
_COLOUR = MovedFeature("colour", False, 0.2, 0.1, {"red": 0.5, "blue": 0.25}, {"red": 0.25, "blue": 0.5})
_SPENDING = Spending(0.05, 0.05, 1.25)
WINDOW = WindowVerdict(
    key=KEY,
    first=100,
    end=200,
    time=TIME,
    is_drift=True,
    p_value=0.01,
    threshold=0.05,
    distance=0.5,
    feature_distance=[0.5, 0.25],
    feature_p_value=[0.01, 0.5],
    members=[RowRange("/logger", "1", 3, 50, TIME), RowRange("/logger", "2", 0, 53, TIME)],
    revision="digits-00002",
    stretch=Stretch("2024-01-02T03:00:00Z", TIME),
    spending=_SPENDING,
    reference="cd" * 32,
    findings=Findings(
        (_FEATURE, _COLOUR),
        MissingRows(3, 2),
        (PartVerdict("ks", True, 0.02, 0.5), PartVerdict("mmd", False, 0.5, 0.1)),
        Comparison("digits-00001", 90, (PartVerdict("digits-00002", False, None, None, 1, "2 rows are the least"),)),
    ),
)
UNJUDGED = replace(
    WINDOW,
    is_drift=False,
    p_value=None,
    distance=None,
    feature_distance=[],
    feature_p_value=[],
    error="1 rows to test, and 2 are the least",
    findings=Findings(),
)
ALERT = AlertEvent(
    alert="ef" * 32,
    state=AlertState.OPENED,
    severity=Severity.WARNING,
    key=KEY,
    revision="digits-00002",
    opened=TIME,
    updated=TIME,
    resolved=None,
    windows=1,
    quiet=0,
    evidence=AlertEvidence(
        WINDOW.id(DETECTOR), 100, 200, Stretch(TIME, TIME), 0.5, 0.01, _SPENDING, (_FEATURE, _COLOUR)
    ),
    records=(("/logger", "1", 3), ("/logger", "2", 0)),
)

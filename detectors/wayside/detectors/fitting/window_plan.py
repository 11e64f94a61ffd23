"""How a window detector is to be fitted: its windows and budget, its transform, and what is known of its traffic.

Invariant: a plan says all that a fit needs besides rows and the kind's own options; texts of a command line become
values here, and what they mean is checked once.
"""

from dataclasses import dataclass, field

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.settings import CountCut, Cut, MissingValues, SpanCut, WindowSettings
from wayside.detectors.drift.transforms.pca import DEFAULT_SHARE
from wayside.detectors.drift.transforms.registry import TRANSFORMS
from wayside.detectors.drift.transforms.uncertainty import Uncertainty
from wayside.eventing.broker.events.instants import parse_age_s
from wayside.eventing.errors import ConfigurationError

ENCODER, PCA = "encoder", "pca"
DEFAULT_ROWS = 200
UNKNOWN_LEVEL = 0.01  # what a window's level is taken for where nobody knows how long a window is


@dataclass(frozen=True, slots=True, eq=False)
class TransformChoice:
    """Which transform, by name; the kind's own where that is None. `components` are PCA's: a number of them, or below 1
    a share of the variance. `encoder` is the artifact whose encoder is used, and its columns are then the schema."""

    name: str | None = None
    components: float = DEFAULT_SHARE
    encoder: Artifact | None = None
    measure: Uncertainty = Uncertainty.ENTROPY

    def __post_init__(self) -> None:
        if self.name is not None and self.name not in TRANSFORMS:
            raise ConfigurationError(f"no transform {self.name!r}: known are {', '.join(TRANSFORMS)}")
        if (self.name == ENCODER) != (self.encoder is not None):
            raise ConfigurationError("--transform encoder and --encoder ARTIFACT go together: give both or neither")


@dataclass(frozen=True, slots=True, eq=False)
class WindowPlan:
    """`rows_per_s` is the traffic that is expected, where the reference's own times do not tell it.

    `missing` takes the place of `settings.missing` as far as that is left open (None): what the kind takes is kept,
    and rows with a value missing are dropped where it takes none.
    """

    settings: WindowSettings = field(default_factory=lambda: WindowSettings.of_rows(DEFAULT_ROWS))
    transform: TransformChoice = field(default_factory=TransformChoice)
    missing: MissingValues | None = None
    rows_per_s: float | None = None

    @classmethod
    def of_rows(cls, rows: int, share: float = 0.01) -> "WindowPlan":
        """Windows of `rows` rows that follow each other, of which this share may be flagged where nothing drifts."""
        return cls(WindowSettings.of_rows(rows, share))


def parse_cut(window: str, step: str | None) -> Cut:
    """`200` rows, or a span such as `30s`, `15m`, `1h`, `1d`; the step in the same unit, the window itself if None.

    Raises `ConfigurationError`.
    """
    span_s, step_s = parse_age_s(window), None if step is None else parse_age_s(step)
    if (span_s is None) is not (step_s is None) and step is not None:
        raise ConfigurationError(f"--window {window} and --step {step}: give both in rows, or both as times")
    if span_s is not None:
        return SpanCut(span_s, span_s if step_s is None else step_s)
    rows = _rows("--window", window)
    return CountCut(rows, rows if step is None else _rows("--step", step))


def parse_seconds(flag: str, text: str) -> float:
    """`2s`, `5m`, or plain seconds. Raises `ConfigurationError`."""
    age_s = parse_age_s(text)
    if age_s is not None:
        return age_s
    try:
        return float(text)
    except ValueError as exc:
        raise ConfigurationError(f"{flag} {text[:32]!r}: give a time such as 2s or 5m") from exc


def _rows(flag: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise ConfigurationError(f"{flag} {text[:32]!r}: give a number of rows, or a time such as 30s, 15m, 1h, 1d")
    return int(text)

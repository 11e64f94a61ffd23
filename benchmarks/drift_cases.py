"""What `scripts/bench drift-budget` measures: which tests on which populations, how many streams of how many windows.

Invariant: every window kind has a line at 1e-2 a window; streams are 200 of 1 000 windows but where a test is dear, and
then the table says how many.
"""

from dataclasses import dataclass

from drift_null import Case

STREAMS, WINDOWS = 200, 1000


@dataclass(frozen=True, slots=True)
class Run:
    """A case, and how much of it."""

    case: Case
    streams: int = STREAMS
    windows: int = WINDOWS
    weeks: int = 0


UNIVARIATE = (
    Run(Case("ks", "kdd")),
    Run(Case("ks", "adult-numbers")),
    Run(Case("ks", "mnist", window=100)),
    Run(Case("cvm", "kdd")),
    Run(Case("cvm", "mnist", window=100)),
    Run(Case("chi2", "adult-categories")),
    Run(Case("fisher", "adult-flags")),
    Run(Case("tabular", "adult")),
)
KERNELS = (
    Run(Case("mmd", "kdd", window=100), 100),
    Run(Case("mmd", "mnist", window=100), 100),
    Run(Case("lsdd", "mnist", window=100), 100),
    Run(Case("classifier", "mnist", window=100), 50, 500),
    Run(Case("classifier", "adult-numbers", window=100), 50, 500),
)
SEQUENTIAL = (
    Run(Case("cusum", "kdd")),
    Run(Case("cusum", "mnist", window=100)),
    Run(Case("cvm-online", "mnist", window=100), 100),
    Run(Case("mmd-online", "mnist", window=100), 100),
)
BLOCKS = (
    Run(Case("ks", "elec2", window=192, block=48)),
    Run(Case("cvm", "elec2", window=192, block=48)),
    Run(Case("mmd", "elec2", window=192, block=48), 50),
    Run(Case("ks", "kdd", block=20)),
)
SMALL_REFERENCES = (
    Run(Case("ks", "kdd", ratio=5)),
    Run(Case("ks", "mnist", window=100, ratio=5)),
    Run(Case("mmd", "mnist", window=100, ratio=5), 50),
)
WEEKS = (
    Run(Case("ks", "kdd", level=1 / 168), STREAMS, 168, 50),
    Run(Case("ks", "mnist", window=100, level=1 / 168), STREAMS, 168, 50),
    Run(Case("mmd", "mnist", window=100, level=1 / 168), 50, 168, 1),
)
HOURS = (
    Run(Case("context-mmd", "hours", window=100, options={"context": "hour"}), 100, 500),
    Run(Case("mmd", "hours", window=100), 20, 200),
    Run(Case("ks", "hours", window=100), 20, 200),
)
PARTS = {
    "univariate": UNIVARIATE,
    "kernels": KERNELS,
    "sequential": SEQUENTIAL,
    "blocks": BLOCKS,
    "small": SMALL_REFERENCES,
    "hours": HOURS,
    "weeks": WEEKS,
}

"""The kinds beside what alibi-detect says of the same samples; `oracles/make_univariate.py` asked it."""

from pathlib import Path

import numpy as np
import pytest

from wayside.detectors.kinds.protocol import ComparesSamples, Sample, WindowFitContext
from wayside.detectors.kinds.registry import window_detector

ORACLE = np.load(Path(__file__).with_name("oracles") / "univariate.npz")


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("ks", {}, 0.3),
        ("cvm", {}, 0.02),
        ("chi2", {}, 0.1),
        ("fisher", {"alternative": "greater"}, 1e-5),
        ("tabular", {}, 0.3),
    ],
    ids=["ks", "cvm", "chi2", "fisher", "tabular"],
)
def test_columns_are_judged_as_alibi_detect_judges_them(kind: str, options: dict, tolerance: float) -> None:
    reference, window = (Sample.untimed(ORACLE[f"{kind}_{each}"].astype(float)) for each in ("reference", "window"))
    found = window_detector(kind)
    detector = found.fit(reference, found.options(**{"draws": 0, "dependence": False, **options}), WindowFitContext())
    assert isinstance(detector, ComparesSamples)
    outcome = detector.compare(reference, window)  # without the correction for a reference that stays
    assert np.allclose(outcome.feature_p_value, ORACLE[f"{kind}_p_value"], rtol=tolerance)
    if kind != "fisher":  # its distance is an odds ratio
        assert np.allclose(outcome.feature_distance, ORACLE[f"{kind}_distance"], rtol=1e-5)

"""MMD, LSDD and context-aware MMD: alibi-detect's statistics, and its p-values but for the chance in permutations."""

from pathlib import Path

import numpy as np
import pytest

from wayside.detectors.kernels.arithmetic import NumpyArithmetic, median_width
from wayside.detectors.kernels.conditional import aditt
from wayside.detectors.kernels.lsdd import chosen_penalty, form_of, gram_of, quadratic
from wayside.detectors.kernels.mmd import MmdMeasure, regrouped_mmd
from wayside.detectors.kernels.permutations import permutation_p_value, regroupings

NUMPY = NumpyArithmetic()
FOUND = np.load(Path(__file__).parent / "oracles" / "kernels.npz")
REFERENCE, WINDOW = FOUND["reference"], FOUND["window"]
MEMBERS = regroupings((120, 60), 4000, seed=1)


def test_mmd_is_alibi_detects_at_its_bandwidth() -> None:
    width = float(FOUND["mmd.width"][0])
    measure = MmdMeasure.fit(REFERENCE.astype(float), NUMPY, width)
    statistics = regrouped_mmd(NUMPY, np.concatenate([REFERENCE, WINDOW]), width, MEMBERS)
    theirs, p_value = FOUND["mmd"]
    assert statistics[0] == pytest.approx(theirs, abs=2e-6)
    assert measure.statistic(WINDOW.astype(float)) == pytest.approx(theirs, abs=2e-6)
    assert permutation_p_value(statistics) == pytest.approx(p_value, abs=0.02)


def test_the_median_bandwidth_is_that_of_pairs_of_different_rows() -> None:
    apart = [np.sum((one - other) ** 2) for at, one in enumerate(REFERENCE) for other in REFERENCE[:at]]
    assert median_width(REFERENCE) == pytest.approx(np.sqrt(np.median(apart) / 2), rel=1e-5)
    assert median_width(REFERENCE) == pytest.approx(float(FOUND["mmd.width"][0]), rel=0.02)


def test_lsdd_is_alibi_detects_with_its_centres() -> None:
    width = float(FOUND["lsdd.width"][0])
    gram = gram_of(NUMPY, FOUND["lsdd.centres"], width)
    kernel = np.concatenate([FOUND["lsdd.kept"], NUMPY.kernel(FOUND["lsdd.window"], FOUND["lsdd.centres"], width)])
    count, members = len(FOUND["lsdd.kept"]), regroupings((len(FOUND["lsdd.kept"]), 60), 4000, seed=2)
    inside = members.T @ kernel
    differences = (kernel.sum(axis=0) - inside) / count - inside / 60
    form = form_of(gram, chosen_penalty(gram, differences[1:].astype(float)))
    statistics = quadratic(differences.astype(float), form)
    theirs, p_value = FOUND["lsdd"]
    assert gram == pytest.approx(FOUND["lsdd.gram"], abs=1e-5)
    assert form == pytest.approx(FOUND["lsdd.form"], rel=1e-3, abs=1e-3)
    assert statistics[0] == pytest.approx(theirs, rel=1e-4)
    assert permutation_p_value(statistics) == pytest.approx(p_value, abs=0.02)


def test_the_context_aware_statistic_is_alibi_detects_for_contexts_that_are_strata() -> None:
    width = float(FOUND["context.width"][0])
    rows, strata = np.concatenate([REFERENCE, WINDOW]), np.concatenate([FOUND["strata"], FOUND["window.strata"]])
    shares = np.bincount(FOUND["context.held"], minlength=3) / len(FOUND["context.held"])
    theirs, shrinkage = FOUND["context"]
    found = aditt(NUMPY.kernel(rows, rows, width), strata, MEMBERS[:, :1], shares, float(shrinkage))
    assert found[0] == pytest.approx(theirs, rel=1e-3)

"""Run by .venvs/keras: the kernel tests' products by Keras and by numpy, and each kind's statistic by both.

Prints one JSON object: how far they are apart, by name.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from wayside.detectors.kernels.arithmetic import NumpyArithmetic
from wayside.detectors.kernels.classifier import ClassifierMeasure
from wayside.detectors.kernels.lsdd import LsddMeasure
from wayside.detectors.kernels.mmd import MmdMeasure
from wayside.detectors.kernels.on_keras import KerasArithmetic
from wayside.detectors.kernels.permutations import regroupings


def main() -> None:
    ours, theirs = NumpyArithmetic(), KerasArithmetic()
    found = np.load(Path(sys.argv[1]))
    reference, window = found["reference"].astype(float), found["window"].astype(float)
    members = regroupings((len(reference), len(window)), 20, seed=1)
    apart: dict[str, float] = {}
    for name, measure in (
        ("mmd", MmdMeasure.fit(reference, ours)),
        ("lsdd", LsddMeasure.fit(reference, 12, ours, 0)),
        ("classifier", ClassifierMeasure.fit(reference, 16, ours, 0)),
    ):
        other = replace(measure, arithmetic=theirs)
        apart[name] = abs(measure.statistic(window) - other.statistic(window))
        differences = measure.regrouped(reference, window, members) - other.regrouped(reference, window, members)
        apart[f"{name} regrouped"] = float(np.abs(differences).max())
    wide = np.full((3, 2), 1e15, np.float32) * [[1], [2], [0]]
    apart["far"] = float(np.abs(ours.kernel(wide, wide, 1.0) - theirs.kernel(wide, wide, 1.0)).max())
    print(json.dumps(apart))


if __name__ == "__main__":
    main()

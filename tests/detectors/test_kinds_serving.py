"""What serving a detector imports: neither scikit-learn, nor scipy, nor what builds graphs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wayside.detectors.artifacts.folder import load_folder, save
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.kinds.registry import ROW_KINDS
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.tabular.table import Table

FITTED_ELSEWHERE = {"autoencoder", "vae", "alibi"}
KINDS_HERE = sorted(set(ROW_KINDS) - FITTED_ELSEWHERE)
ROWS = np.random.default_rng(2).normal(size=(1200, 5))
ONLY_FOR_FITS = ("sklearn", "scipy", "onnx", "keras", "tensorflow", "pandas", "joblib")
SCORE = f"""
import sys
from pathlib import Path
import numpy as np
from wayside.detectors.artifacts.folder import load_folder
from wayside.detectors.scoring.judge import RowJudge

for folder in map(Path, sys.argv[1:]):
    judge = RowJudge.of(load_folder(folder))
    scores = judge.score(np.random.default_rng(2).normal(size=(1200, 5)))
    assert judge.verdict(scores).scores
    if judge.gives_feature_scores:
        judge.feature_scores(np.zeros((2, 5)))
    np.save(folder / "scores.npy", scores)
print([name for name in {ONLY_FOR_FITS} if name in sys.modules])
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    at = tmp_path_factory.mktemp("served")
    for kind in KINDS_HERE:
        save(fit_artifact(kind, Table.of(ROWS), FitSettings(alpha=0.05)).artifact, at / kind)
    return [at / kind for kind in KINDS_HERE]


def test_another_process_scores_without_what_fits_and_gives_the_same_bits(folders: list[Path]) -> None:
    told = subprocess.run([sys.executable, "-c", SCORE, *map(str, folders)], capture_output=True, text=True, timeout=60)
    assert (told.stdout, told.stderr) == ("[]\n", "")
    for folder in folders:
        here = RowJudge.of(load_folder(folder)).score(ROWS)
        assert np.load(folder / "scores.npy", allow_pickle=False).tobytes() == here.tobytes(), folder.name

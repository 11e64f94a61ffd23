"""Trust in files that can run code is in what was served when it was given, and in nothing that comes later."""

from dataclasses import replace

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.kinds.protocol import State
from wayside.detectors.serving.catalogue import Card
from wayside.detectors.serving.reload import ReloadRefused, check_replacement


@pytest.fixture
def pickled(knn: Artifact) -> Artifact:
    """One that takes the same rows, and holds what alibi-detect would unpickle."""
    arrays = {"shape": np.array([4]), "noise": np.zeros((0, 0)), "by_feature": np.array([False])}
    return replace(knn, kind="alibi", state=State(arrays, {"meta.dill": b"print"}))


def card(artifact: Artifact) -> Card:
    return Card.of(artifact, artifact.identity())


def test_no_reload_brings_files_that_run_code_to_a_detector_without_them(knn: Artifact, pickled: Artifact) -> None:
    with pytest.raises(ReloadRefused, match="alibi loads files that can run code, and the knn in service does not"):
        check_replacement(card(knn), pickled)


def test_a_reload_may_bring_others_or_take_them_away(knn: Artifact, pickled: Artifact) -> None:
    check_replacement(card(pickled), replace(pickled, alpha=0.02))
    check_replacement(card(pickled), knn)

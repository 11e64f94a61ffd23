"""Artifacts: what was saved is what is loaded, and what is missing, changed or foreign is refused with a way out."""

import json
from pathlib import Path

import numpy as np
import pytest

from wayside.detectors.artifact import Artifact, load_artifact
from wayside.detectors.fit import FitSettings, fit_artifact
from wayside.eventing.errors import ConfigurationError

from .conftest import normal_rows


@pytest.fixture
def folder(knn: Artifact, tmp_path: Path) -> Path:
    knn.save(tmp_path / "outlier")
    return tmp_path / "outlier"


def change_manifest(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def test_what_was_saved_is_loaded(knn: Artifact, folder: Path) -> None:
    loaded = load_artifact(folder)
    assert (loaded.digest, loaded.kind, loaded.alpha) == (knn.digest, "knn", 0.01)
    assert all(np.array_equal(loaded.arrays[name], array) for name, array in knn.arrays.items())


def test_equal_fits_have_equal_digests_and_others_do_not(knn: Artifact) -> None:
    rows = normal_rows(2400, 1)
    assert fit_artifact("knn", rows, FitSettings()).artifact.digest == knn.digest
    assert fit_artifact("knn", rows, FitSettings(seed=1)).artifact.digest != knn.digest
    assert fit_artifact("knn", rows, FitSettings(alpha=0.02)).artifact.digest != knn.digest


def test_saving_again_replaces_and_leaves_nothing_beside(folder: Path) -> None:
    other = fit_artifact("mahalanobis", normal_rows(2400, 1), FitSettings()).artifact
    other.save(folder)
    assert load_artifact(folder).digest == other.digest
    assert [path.name for path in folder.parent.iterdir()] == ["outlier"]


def test_a_folder_of_something_else_is_not_touched(knn: Artifact, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="no detector artifact"):
        knn.save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"alpha": 0.5}, "digest"),
        ({"digest": "0" * 64}, "digest"),
        ({"version": 2}, "version 2"),
        ({"format": "other"}, "not the manifest"),
        ({"arrays": {}}, "does not hold the arrays"),
        ({"arrays": {"calibration": [-3]}}, "does not hold the arrays"),
        ({"arrays": 5}, "damaged"),
        ({"alpha": "much"}, "damaged"),
        ({"name": "../x"}, "not allowed"),
    ],
)
def test_a_changed_manifest_is_refused(folder: Path, changes: dict[str, object], reason: str) -> None:
    change_manifest(folder, **changes)
    with pytest.raises(ConfigurationError, match=reason):
        load_artifact(folder)


def test_changed_arrays_are_refused(folder: Path, knn: Artifact) -> None:
    arrays = {**knn.arrays, "calibration": knn.arrays["calibration"] + 1}
    np.savez(folder / "arrays.npz", allow_pickle=False, **arrays)
    with pytest.raises(ConfigurationError, match="digest"):
        load_artifact(folder)


def test_arrays_larger_than_stated_are_refused_before_they_are_read(folder: Path, knn: Artifact) -> None:
    arrays = {**knn.arrays, "calibration": np.zeros(10**6)}
    np.savez_compressed(folder / "arrays.npz", allow_pickle=False, **arrays)
    with pytest.raises(ConfigurationError, match="not of the size"):
        load_artifact(folder)


def test_pickled_arrays_are_refused(folder: Path, knn: Artifact) -> None:
    hostile = {**knn.arrays, "calibration": np.array([print] * len(knn.arrays["calibration"]), dtype=object)}
    np.savez(folder / "arrays.npz", allow_pickle=True, **hostile)
    with pytest.raises(ConfigurationError):
        load_artifact(folder)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x00" * 100])
def test_a_damaged_archive_is_refused(folder: Path, content: bytes) -> None:
    (folder / "arrays.npz").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"arrays\.npz"):
        load_artifact(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_manifest_is_refused(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"manifest\.json"):
        load_artifact(folder)


def test_missing_and_foreign_artifacts_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="wayside fit"):
        load_artifact(tmp_path / "nowhere")
    (tmp_path / "meta.dill").write_bytes(b"\x80\x04.")
    with pytest.raises(ConfigurationError, match="alibi-detect"):
        load_artifact(tmp_path)

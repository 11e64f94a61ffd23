"""Artifacts: what was saved is what is loaded, and what is missing, changed or foreign is refused with a way out."""

import io
import json
import os
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wayside.detectors.artifacts.artifact import Artifact, CalibrationRows
from wayside.detectors.artifacts.files import MOST_NAMES, FolderFiles, check_file_name
from wayside.detectors.artifacts.folder import load, load_folder, save, take_place
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.kinds.protocol import State
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.tabular.schema import Schema
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

from .conftest import normal_rows


@pytest.fixture
def folder(knn: Artifact, tmp_path: Path) -> Path:
    save(knn, tmp_path / "outlier")
    return tmp_path / "outlier"


@pytest.fixture(scope="module")
def forest() -> Artifact:
    """An artifact with a file besides its arrays, with categories and missing values."""
    rows = normal_rows(2400, 1)
    rows[::7, 1] = np.nan
    rows[:, 2] = np.arange(2400) % 3
    table = Table(rows, ("a", "b", "c", "d"), {2: ("red", "green", "blue")})
    return fit_artifact("iforest", table, FitSettings(options={"trees": 10})).artifact


@pytest.fixture
def forest_folder(forest: Artifact, tmp_path: Path) -> Path:
    save(forest, tmp_path / "forest")
    return tmp_path / "forest"


def manifest_of(folder: Path) -> dict[str, object]:
    manifest: dict[str, object] = json.loads((folder / "detector.json").read_text())
    return manifest


def change_manifest(folder: Path, **changes: object) -> None:
    (folder / "detector.json").write_text(json.dumps({**manifest_of(folder), **changes}))


def write_arrays(folder: Path, artifact: Artifact, **changes: np.ndarray) -> None:
    np.savez(folder / "arrays.npz", allow_pickle=True, **{**artifact.arrays(), **changes})


def test_what_was_saved_is_loaded(knn: Artifact, folder: Path) -> None:
    loaded = load_folder(folder)
    assert (loaded.digest, loaded.kind, loaded.alpha, loaded.schema) == (knn.digest, "knn", 0.01, knn.schema)
    assert {name: array.tobytes() for name, array in loaded.arrays().items()} == {
        name: array.tobytes() for name, array in knn.arrays().items()
    }
    assert sorted(path.name for path in folder.iterdir()) == ["arrays.npz", "detector.json"]


def test_files_and_categories_come_back(forest: Artifact, forest_folder: Path) -> None:
    loaded = load_folder(forest_folder)
    assert (loaded.digest, loaded.schema, loaded.state.files) == (forest.digest, forest.schema, forest.state.files)
    coded = np.array([[0.0, np.nan, 1.0, 0.0], [0.0, 0.5, 3.0, 9.0]])
    assert RowJudge.of(loaded).score(coded).tolist() == RowJudge.of(forest).score(coded).tolist()


def test_equal_fits_have_equal_digests_and_others_do_not(knn: Artifact) -> None:
    rows = normal_rows(2400, 1)
    assert fit_artifact("knn", Table.of(rows), FitSettings()).artifact.digest == knn.digest
    assert fit_artifact("knn", Table.of(rows), FitSettings(seed=1)).artifact.digest != knn.digest
    assert fit_artifact("knn", Table.of(rows), FitSettings(alpha=0.02)).artifact.digest != knn.digest


def test_provenance_is_kept_and_changes_no_digest(folder: Path, knn: Artifact) -> None:
    change_manifest(folder, provenance={"rows": 7, "by": "hand"})
    assert (load_folder(folder).digest, load_folder(folder).provenance) == (knn.digest, {"rows": 7, "by": "hand"})


def test_saving_again_replaces_and_leaves_nothing_beside(folder: Path) -> None:
    other = fit_artifact("mahalanobis", Table.of(normal_rows(2400, 1)), FitSettings()).artifact
    save(other, folder)
    assert load_folder(folder).digest == other.digest
    assert [path.name for path in folder.parent.iterdir()] == ["outlier"]


def test_a_folder_of_something_else_is_not_touched(knn: Artifact, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="no detector artifact"):
        save(knn, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["notes.md", "d.npy", "part/of/it.onnx", "arrays.npz/x"])
def test_an_artifact_with_a_strangers_file_beside_it_is_not_replaced(name: str, folder: Path, knn: Artifact) -> None:
    if name.startswith("arrays"):
        (folder / "arrays.npz").unlink()
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine")
    with pytest.raises(ConfigurationError, match="is no part of a detector artifact and would be lost"):
        save(knn, folder)
    assert (folder / name).read_text() == "mine"


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"format": "other", "files": {}}'])
def test_another_programs_manifest_is_not_replaced(content: str, folder: Path, knn: Artifact) -> None:
    (folder / "detector.json").write_text(content)
    with pytest.raises(ConfigurationError, match="is no detector artifact"):
        save(knn, folder)
    assert (folder / "detector.json").read_text() == content


def test_an_artifact_with_its_report_and_files_is_replaced(forest_folder: Path, knn: Artifact) -> None:
    (forest_folder / "report.html").write_text("of the forest")
    save(knn, forest_folder)
    assert sorted(path.name for path in forest_folder.iterdir()) == ["arrays.npz", "detector.json"]


def test_the_artifact_stays_where_no_other_can_take_its_place(folder: Path, knn: Artifact, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        take_place(tmp_path / "none", folder, tmp_path / "old")
    assert load_folder(folder).digest == knn.digest
    assert [path.name for path in tmp_path.iterdir()] == ["outlier"]


@pytest.mark.parametrize("name", ["detector.json", "arrays.npz"])
def test_a_fifo_is_refused_and_not_waited_for(name: str, folder: Path) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ConfigurationError, match=rf"{name} is no regular file"):
        load_folder(folder)


NO_ARRAY = {"dtype": "<f8", "shape": [-3], "sha256": ""}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"alpha": 0.5}, "digest"),
        ({"alpha": 1.5}, "damaged"),
        ({"alpha": "much"}, "damaged"),
        ({"digest": "0" * 64}, "digest"),
        ({"version": 2}, "fit it again"),
        ({"version": 4}, "version 4, this is 3: use a newer Wayside"),
        ({"version": "3"}, "fit it again"),
        ({"format": "other"}, "not that of a detector artifact"),
        ({"kind": "mystery"}, "no detector kind 'mystery': known are"),
        ({"kind": "mahalanobis"}, "digest"),
        ({"kind": ["knn"]}, "no detector kind"),
        ({"windows": {"cut": 7}}, "damaged"),
        ({"name": "../x"}, "not allowed"),
        ({"arrays": {}}, "has more than"),
        ({"arrays": 5}, "damaged"),
        ({"arrays": {"calibration.scores": NO_ARRAY}}, "damaged"),
        ({"arrays": {"x": {**NO_ARRAY, "shape": [1 << 40]}}}, "are the most"),
        ({"arrays": {"x": {**NO_ARRAY, "shape": [1], "dtype": "|O"}}}, "damaged"),
        ({"files": None}, "damaged"),
        ({"files": {"../../etc/passwd": {"bytes": 9, "sha256": ""}}}, "no name of a file"),
        ({"files": {"/etc/passwd": {"bytes": 9, "sha256": ""}}}, "no name of a file"),
        ({"files": {"forest.onnx": {"bytes": 9, "sha256": ""}}}, r"there is no forest\.onnx"),
        ({"files": {"forest.onnx": {"bytes": 1 << 40, "sha256": ""}}}, "are the most"),
        ({"files": {"forest.onnx": {"bytes": -1, "sha256": ""}}}, "damaged"),
        ({"input": []}, "damaged"),
        ({"input": 3}, "damaged"),
        ({"input": [{"name": None, "type": "number", "categories": [], "missing": False}]}, "damaged"),
    ],
    ids=lambda each: str(each)[:48],
)
def test_a_changed_manifest_is_refused(folder: Path, changes: dict[str, object], reason: str) -> None:
    change_manifest(folder, **changes)
    with pytest.raises(ConfigurationError, match=reason):
        load_folder(folder)


@pytest.mark.parametrize("field", ["alpha", "arrays", "digest", "files", "input", "kind", "name", "version", "windows"])
def test_a_manifest_without_a_field_is_refused(folder: Path, field: str) -> None:
    manifest = manifest_of(folder)
    del manifest[field]
    (folder / "detector.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigurationError, match=r"damaged|version|kind"):
        load_folder(folder)


def test_changed_arrays_are_refused(folder: Path, knn: Artifact) -> None:
    write_arrays(folder, knn, **{"calibration.scores": knn.arrays()["calibration.scores"] + 1})
    with pytest.raises(ConfigurationError, match="not what was saved"):
        load_folder(folder)


def test_an_array_more_is_refused(folder: Path, knn: Artifact) -> None:
    write_arrays(folder, knn, more=np.zeros(1))
    with pytest.raises(ConfigurationError, match="does not hold the arrays"):
        load_folder(folder)


def test_arrays_larger_than_stated_are_refused_before_they_are_read(folder: Path, knn: Artifact) -> None:
    arrays = {**knn.arrays(), "calibration.scores": np.zeros(10**6)}
    np.savez_compressed(folder / "arrays.npz", allow_pickle=False, **arrays)
    with pytest.raises(ConfigurationError, match="not of the size"):
        load_folder(folder)


def test_an_archive_larger_than_stated_is_not_read(folder: Path) -> None:
    with (folder / "arrays.npz").open("ab") as file:
        file.write(b"\0" * 10**6)
    with pytest.raises(ConfigurationError, match="has more than"):
        load_folder(folder)


def test_pickled_arrays_are_refused(folder: Path, knn: Artifact) -> None:
    count = len(knn.arrays()["calibration.scores"])
    write_arrays(folder, knn, **{"calibration.scores": np.array([print] * count, dtype=object)})
    with pytest.raises(ConfigurationError, match=r"arrays\.npz"):
        load_folder(folder)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x00" * 100])
def test_a_damaged_archive_is_refused(folder: Path, content: bytes) -> None:
    (folder / "arrays.npz").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"arrays\.npz"):
        load_folder(folder)


def zipped_anew(content: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The archive with the content of one member changed, and its checksum right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if name.startswith("calibration.scores") else old.read(name))
    return out.getvalue()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"(1", b"(9"),  # a shape that the bytes do not fill
        (b"'shape': (", b"'shape': [["),
        (b"<f8", b"|O "),
        (b"\x93NUMPY", b"\x93NUMPX"),
        (b"{'descr'", b"('descr'"),
        (b"False", b"print"),
    ],
    ids=["shape", "syntax", "objects", "magic", "brackets", "name"],
)
def test_an_array_of_a_strange_head_is_refused(folder: Path, old: bytes, new: bytes) -> None:
    path = folder / "arrays.npz"
    path.write_bytes(zipped_anew(path.read_bytes(), lambda content: content.replace(old, new, 1)))
    with pytest.raises(ConfigurationError, match=r"arrays\.npz"):
        load_folder(folder)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.booleans())
def test_any_changed_byte_is_refused_or_changes_nothing(
    forest: Artifact, forest_folder: Path, where: float, value: int, cut: bool
) -> None:
    for name in ("arrays.npz", "detector.json", "forest.onnx"):
        path = forest_folder / name
        whole = path.read_bytes()
        at = int(where * len(whole))
        path.write_bytes(whole[:at] if cut else whole[:at] + bytes([value]) + whole[at + 1 :])
        try:
            assert load_folder(forest_folder).digest == forest.digest
        except ConfigurationError:
            assert path.read_bytes() != whole
        finally:
            path.write_bytes(whole)


def test_a_changed_graph_is_refused(forest_folder: Path) -> None:
    graph = forest_folder / "forest.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\x00")
    with pytest.raises(ConfigurationError, match=r"forest\.onnx .* is not what was saved"):
        load_folder(forest_folder)
    graph.unlink()
    with pytest.raises(ConfigurationError, match=r"there is no forest\.onnx"):
        load_folder(forest_folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"format": 1' + b"0" * 5000 + b"}"])
def test_a_damaged_manifest_is_refused(folder: Path, content: bytes) -> None:
    (folder / "detector.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"detector\.json"):
        load_folder(folder)


def test_missing_and_foreign_artifacts_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="wayside fit"):
        load_folder(tmp_path / "nowhere")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="earlier format: fit it again"):
        load_folder(tmp_path)
    (tmp_path / "meta.dill").write_bytes(b"\x80\x04.")
    with pytest.raises(ConfigurationError, match="alibi-detect"):
        load_folder(tmp_path)


def test_a_large_folder_is_not_listed_to_its_end(tmp_path: Path) -> None:
    for number in range(MOST_NAMES + 10):
        (tmp_path / str(number)).touch()
    assert len(FolderFiles(tmp_path).names()) == MOST_NAMES
    shutil.rmtree(tmp_path)
    assert FolderFiles(tmp_path).names() == []


@pytest.mark.parametrize("name", ["a.onnx", "part/a.onnx", "a-b_c.1", "..a", "a..b"])
def test_names_of_files(name: str) -> None:
    assert check_file_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "../a", "a/../b", "./a", "a//b", "a\\b", "a\n", "ä", "a" * 241, "c:a"]
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="no name of a file"):
        check_file_name(name)
    with pytest.raises(ConfigurationError, match="no name of a file"):
        Artifact("knn", "x", 0.1, Schema.of_width(1), State({}, {name: b""}))


def test_only_as_much_memory_is_taken_as_a_file_has_bytes(tmp_path: Path) -> None:
    (tmp_path / "graph.onnx").write_bytes(b"short")
    tracemalloc.start()
    content = FolderFiles(tmp_path).read("graph.onnx", 4 << 30)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (content, most < 1 << 20) == (b"short", True)


def test_loading_takes_twice_the_memory_of_the_arrays_at_most(knn: Artifact, tmp_path: Path) -> None:
    reference = np.zeros((1 << 18, 4))
    save(replace(knn, state=State({**knn.state.arrays, "reference": reference})), tmp_path / "large")
    tracemalloc.start()
    load_folder(tmp_path / "large")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2.2 * reference.nbytes


class Full(FolderFiles):
    """Files of a machine that has no memory for one of them."""

    def read(self, name: str, limit_bytes: int) -> bytes:
        if name != "detector.json":
            raise MemoryError
        return super().read(name, limit_bytes)


def test_too_little_memory_is_told(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"arrays\.npz in .*: no memory"):
        load(Full(folder))


@pytest.mark.parametrize("scores", [[2.0, 1.0], [1.0, np.nan], [1.0, np.inf], [[1.0]]])
def test_calibration_scores_rise_and_are_finite(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="rising order"):
        CalibrationRows(np.array(scores))

"""Reads the repository's YAML, and renders the few features of kustomize that its kustomizations use.

Invariant: a field of a kustomization that is not rendered here is an error, so that no test looks at half of it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
OVERLAYS = MANIFESTS / "overlays"
KUSTOMIZATION = "kustomization.yaml"
_FIELDS = {"apiVersion", "kind", "namespace", "resources", "components", "patches"}
_CLUSTER_WIDE = {"Namespace"}
_MERGE_KEYS = {
    **{"containers": "name", "env": "name", "volumes": "name"},
    **{"ports": "containerPort", "volumeMounts": "mountPath"},
}


def load(path: Path) -> list[Document]:
    """The documents of a file, without empty ones."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document is not None]


def render(folder: Path) -> list[Document]:
    """What `kustomize build` gives for a folder. Raises `OSError` for a file that is listed and not there."""
    return _render(folder, [])


def kustomizations() -> list[Path]:
    """The folders of these manifests that kustomize reads; `monitoring` has tests of its own."""
    found = sorted(path.parent for path in MANIFESTS.rglob(KUSTOMIZATION))
    return [folder for folder in found if "monitoring" not in folder.parts]


def identity(document: Document) -> tuple[str, str, str]:
    """What a patch finds its target by."""
    return document["apiVersion"], document["kind"], document["metadata"]["name"]


def of_kind(documents: list[Document], kind: str, group: str = "") -> dict[str, Document]:
    """Documents of a kind by name; `group` is the apiVersion's part before '/', empty for the core."""
    return {
        document["metadata"]["name"]: document
        for document in documents
        if document["kind"] == kind and document["apiVersion"].rpartition("/")[0] == group
    }


def listed(folder: Path) -> Iterator[Path]:
    """The files and folders that a kustomization names."""
    kustomization = load(folder / KUSTOMIZATION)[0]
    for name in (*kustomization.get("resources", ()), *kustomization.get("components", ())):
        yield (folder / name).resolve()
    for patch in kustomization.get("patches", ()):
        yield (folder / patch["path"]).resolve()


def _render(folder: Path, documents: list[Document]) -> list[Document]:
    """`documents` are what a component is applied to; a kustomization begins with none."""
    kustomization = load(folder / KUSTOMIZATION)[0]
    unknown = set(kustomization) - _FIELDS
    assert not unknown, f"{folder}: render {unknown} here, or do without"
    for name in kustomization.get("resources", ()):
        path = (folder / name).resolve()
        documents = documents + (_render(path, []) if path.is_dir() else load(path))
    for name in kustomization.get("components", ()):
        documents = _render((folder / name).resolve(), documents)
    for patch in kustomization.get("patches", ()):
        for change in load(folder / patch["path"]):
            documents = _patched(documents, change)
    namespace = kustomization.get("namespace")
    return [_placed(document, namespace) for document in documents] if namespace else documents


def _patched(documents: list[Document], change: Document) -> list[Document]:
    targets = [document for document in documents if identity(document) == identity(change)]
    assert len(targets) == 1, f"{identity(change)} patches {len(targets)} documents"
    if change.get("$patch") == "delete":
        return [document for document in documents if document is not targets[0]]
    return [_merged(document, change) if document is targets[0] else document for document in documents]


def _merged(target: Mapping[str, Any], change: Mapping[str, Any]) -> Document:
    """Kubernetes' strategic merge, for the lists that `_MERGE_KEYS` names; other lists are replaced."""
    result = dict(target)
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            result[key] = _merged(target[key], value)
        elif key in _MERGE_KEYS and isinstance(value, list):
            result[key] = _merged_list(target.get(key, []), value, _MERGE_KEYS[key])
        else:
            result[key] = value
    return {key: value for key, value in result.items() if value != []}


def _merged_list(target: list[Document], changes: list[Document], key: str) -> list[Document]:
    items = {item[key]: item for item in target}
    for change in changes:
        if change.get("$patch") == "delete":
            del items[change[key]]
        else:
            items[change[key]] = _merged(items.get(change[key], {}), change)
    return list(items.values())


def _placed(document: Document, namespace: str) -> Document:
    if document["kind"] in _CLUSTER_WIDE:
        return {**document, "metadata": {**document["metadata"], "name": namespace}}
    return {**document, "metadata": {**document["metadata"], "namespace": namespace}}

"""Which transforms there are, and how one is told in `detector.json` and read back.

Invariant: `restore_transform` of what `describe_transform` said gives the same features, bit for bit.
"""

from collections.abc import Mapping
from typing import Any

from wayside.detectors.drift.transforms.columns import ColumnsTransform
from wayside.detectors.drift.transforms.encoder import EncoderTransform
from wayside.detectors.drift.transforms.pca import PcaTransform
from wayside.detectors.drift.transforms.scaled import ScaledTransform
from wayside.detectors.drift.transforms.transform import Transform
from wayside.detectors.drift.transforms.uncertainty import UncertaintyTransform
from wayside.detectors.kinds.protocol import Arrays
from wayside.detectors.tabular.schema import Schema

_CLASSES: tuple[type[Transform], ...] = (
    ColumnsTransform,
    ScaledTransform,
    PcaTransform,
    EncoderTransform,
    UncertaintyTransform,
)
TRANSFORMS: Mapping[str, type[Transform]] = {each.name: each for each in _CLASSES}


def describe_transform(transform: Transform) -> dict[str, Any]:
    """As `detector.json` holds it, beside its arrays."""
    return {"name": transform.name, **transform.settings()}


def restore_transform(said: Mapping[str, Any], schema: Schema, arrays: Arrays) -> Transform:
    """Raises `KeyError`, `TypeError` or `ValueError` where it is none."""
    settings = {name: value for name, value in said.items() if name != "name"}
    return TRANSFORMS[said["name"]].restore(schema, arrays, settings)

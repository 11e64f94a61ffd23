"""Fits the transform that rows are put through before a window detector sees them.

Invariant: equal rows and choices give equal transforms; the schema that comes with one codes the rows as it needs them.
"""

from dataclasses import replace

import numpy as np

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.settings import MissingValues
from wayside.detectors.drift.transforms.columns import ColumnsTransform
from wayside.detectors.drift.transforms.encoder import ENCODER_KINDS, EncoderTransform
from wayside.detectors.drift.transforms.pca import PcaTransform
from wayside.detectors.drift.transforms.scaled import ScaledTransform
from wayside.detectors.drift.transforms.transform import Transform
from wayside.detectors.drift.transforms.uncertainty import UncertaintyTransform
from wayside.detectors.fitting.window_plan import TransformChoice
from wayside.detectors.kinds.protocol import Matrix
from wayside.detectors.networks.dense import Dense
from wayside.detectors.tabular.preprocessing import Preprocessing, Scaling
from wayside.detectors.tabular.schema import Schema
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError


def code_reference(table: Table, choice: TransformChoice, missing: MissingValues) -> tuple[Schema, Matrix]:
    """The schema and the coded rows. Raises `ConfigurationError` where an encoder takes other columns.

    Where the transform leaves columns alone any of them may miss a value later on, unless that is to be refused.
    """
    if choice.encoder is not None:
        return choice.encoder.schema, choice.encoder.schema.align_table(table)
    schema = Schema.of(table)
    if choice.name in (ColumnsTransform.name, UncertaintyTransform.name) and missing is not MissingValues.REFUSE:
        schema = Schema(tuple(replace(column, missing=True) for column in schema.columns))
    return schema, table.values


def fit_transform(choice: TransformChoice, schema: Schema, coded: Matrix, scaling: Scaling | None) -> Transform:
    """Fit it on coded rows. Raises `ConfigurationError` where they are not what it takes."""
    if choice.encoder is not None:
        return encoder_of(choice.encoder)
    if choice.name == ColumnsTransform.name:
        return ColumnsTransform(schema)
    if choice.name == UncertaintyTransform.name:
        return UncertaintyTransform.fit(schema, coded, choice.measure)
    fitted = coded[~np.isnan(coded).any(axis=1)] if choice.name == PcaTransform.name else coded
    if not len(fitted):
        raise ConfigurationError("every row of the reference misses a value: there is nothing to fit on")
    scaled = ScaledTransform(Preprocessing.fit(schema, coded, scaling or Scaling.STANDARD))
    return PcaTransform.fit(scaled, fitted, choice.components) if choice.name == PcaTransform.name else scaled


def encoder_of(artifact: Artifact) -> EncoderTransform:
    """The encoder in an artifact. Raises `ConfigurationError` where it has none."""
    if artifact.kind not in ENCODER_KINDS or artifact.preprocessing is None:
        raise ConfigurationError(
            f"--encoder names a {artifact.kind} detector, which has no encoder: give one of {', '.join(ENCODER_KINDS)}"
        )
    try:
        network = Dense.of_arrays(artifact.state.arrays, "encoder")
        latent = network.outputs // 2 if ENCODER_KINDS[artifact.kind] else network.outputs
        limit = float(artifact.state.arrays["measure.limit"].item())
        return EncoderTransform(artifact.preprocessing, network, latent, limit)
    except (KeyError, ValueError) as exc:
        raise ConfigurationError(f"--encoder: artifact {artifact.name!r} holds no encoder ({exc})") from exc

"""`encoder`: what the encoder of a fitted autoencoder or VAE makes of a row.

Source: Rabanser, Günnemann and Lipton, "Failing loudly", NeurIPS 2019: tests on a learnt representation. Of a VAE it is
the mean of the latent numbers.
Invariant: it computes in float32 by plain numpy: no graph, no library of another kind, equal bytes for equal windows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from wayside.detectors.drift.transforms.transform import Transform
from wayside.detectors.kinds.protocol import Arrays, Matrix
from wayside.detectors.networks.dense import Dense
from wayside.detectors.tabular.preprocessing import Preprocessing
from wayside.detectors.tabular.schema import Schema

ENCODER_KINDS: Mapping[str, bool] = {"autoencoder": False, "vae": True}
"""The kinds that have an encoder, and whether it gives a variance beside each number."""
_NETWORK, _LIMIT = "encoder", "limit"


@dataclass(frozen=True, slots=True, eq=False)
class EncoderTransform(Transform):
    """`network` (features of `preprocessing` → latent numbers), of whose outputs the first `latent` are told. It sees
    features within ± `limit`, as it was trained."""

    name: ClassVar[str] = "encoder"
    preprocessing: Preprocessing
    network: Dense
    latent: int
    limit: float

    def __post_init__(self) -> None:
        if self.network.inputs != self.preprocessing.features:
            raise ValueError(f"the encoder takes {self.network.inputs} features, not {self.preprocessing.features}")
        if not 1 <= self.latent <= self.network.outputs or not self.limit > 0:
            raise ValueError(f"'latent' is {self.latent} and 'limit' {self.limit}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"latent {at}" for at in range(1, self.latent + 1))

    @property
    def categories(self) -> tuple[int, ...]:
        return (0,) * self.latent

    @property
    def sources(self) -> None:
        return None

    def apply(self, coded: Matrix) -> Matrix:
        features = self.preprocessing.apply(coded)
        features = np.where(np.isfinite(features), np.clip(features, -self.limit, self.limit), np.nan)
        with np.errstate(over="ignore", invalid="ignore"):
            encoded = self.network.forward(features.astype(np.float32))[:, : self.latent]
        return encoded.astype(np.float64)

    def arrays(self) -> Arrays:
        return {**self.preprocessing.arrays(), **self.network.arrays(_NETWORK), _LIMIT: np.array([self.limit])}

    def settings(self) -> Mapping[str, Any]:
        return {"latent": self.latent}

    @classmethod
    def restore(cls, schema: Schema, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        preprocessing = Preprocessing(schema, arrays["fill"], arrays["centre"], arrays["scale"])
        network = Dense.of_arrays(arrays, _NETWORK)
        return cls(preprocessing, network, int(settings["latent"]), float(arrays[_LIMIT].item()))

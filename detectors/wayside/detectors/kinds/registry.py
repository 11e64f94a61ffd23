"""Which kinds of detectors there are, each imported when it is asked for.

Invariant: a kind is in exactly one of the two mappings, and neither mapping changes while the program runs.
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from wayside.detectors.kinds.protocol import RowDetector, WindowDetector
from wayside.eventing.errors import ConfigurationError

ROW_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "alibi": "wayside.detectors.kinds.alibi:AlibiDetector",
        "autoencoder": "wayside.detectors.kinds.autoencoder:AutoencoderDetector",
        "copod": "wayside.detectors.kinds.copod:CopulaTails",
        "ecod": "wayside.detectors.kinds.ecod:EmpiricalTails",
        "gmm": "wayside.detectors.kinds.gmm:GaussianMixtures",
        "iforest": "wayside.detectors.kinds.iforest:IsolationForest",
        "knn": "wayside.detectors.kinds.knn:NearestNeighbours",
        "lof": "wayside.detectors.kinds.lof:LocalOutlierFactor",
        "mahalanobis": "wayside.detectors.kinds.mahalanobis:Mahalanobis",
        "mahalanobis-online": "wayside.detectors.kinds.mahalanobis_online:OnlineMahalanobis",
        "pca": "wayside.detectors.kinds.pca:PrincipalComponents",
        "vae": "wayside.detectors.kinds.vae:VaeDetector",
    }
)
WINDOW_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "adwin": "wayside.detectors.kinds.adwin:AdaptiveWindowing",
        "alibi-drift": "wayside.detectors.kinds.alibi_drift:AlibiDriftDetector",
        "chi2": "wayside.detectors.kinds.chi2:ChiSquared",
        "classifier": "wayside.detectors.kinds.classifier:ClassifierTwoSample",
        "context-mmd": "wayside.detectors.kinds.context_mmd:ContextMmd",
        "cusum": "wayside.detectors.kinds.cusum:CumulativeSums",
        "cvm": "wayside.detectors.kinds.cvm:CramerVonMises",
        "cvm-online": "wayside.detectors.kinds.cvm_online:OnlineCramerVonMises",
        "ddm": "wayside.detectors.kinds.ddm:DriftDetectionMethod",
        "fisher": "wayside.detectors.kinds.fisher:FisherExact",
        "ks": "wayside.detectors.kinds.ks:KolmogorovSmirnov",
        "kswin": "wayside.detectors.kinds.kswin:SlidingKolmogorovSmirnov",
        "lsdd": "wayside.detectors.kinds.lsdd:LeastSquaresDensityDifference",
        "mmd": "wayside.detectors.kinds.mmd:MaximumMeanDiscrepancy",
        "mmd-online": "wayside.detectors.kinds.mmd_online:OnlineMeanDiscrepancy",
        "outlier-rate": "wayside.detectors.kinds.outlier_rate:OutlierRate",
        "several": "wayside.detectors.kinds.several:Several",
        "tabular": "wayside.detectors.kinds.tabular:Tabular",
    }
)
STATEFUL_KINDS = frozenset({"mahalanobis-online"})  # of the row kinds: those that are moved on by what they judge
CODE_KINDS = frozenset({"alibi", "alibi-drift"})  # those whose files can run code when they are loaded
KINDS = (*ROW_KINDS, *WINDOW_KINDS)


def row_detector(kind: str) -> type[RowDetector]:
    """The class of a kind that judges rows. Raises `ConfigurationError` for any other."""
    found: type[RowDetector] = _load(kind, ROW_KINDS)
    return found


def window_detector(kind: str) -> type[WindowDetector]:
    """The class of a kind that judges windows. Raises `ConfigurationError` for any other."""
    found: type[WindowDetector] = _load(kind, WINDOW_KINDS)
    return found


def _load(kind: str, kinds: Mapping[str, str]) -> Any:
    if kind not in kinds:
        raise ConfigurationError(f"no detector kind {kind!r}: known are {', '.join(kinds)}")
    module, _, name = kinds[kind].partition(":")
    return getattr(import_module(module), name)

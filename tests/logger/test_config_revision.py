"""A revision as Knative says it, and as a pod's name tells it."""

import pytest

from wayside.logger.config.configuration import configuration_of
from wayside.logger.config.revision import of_pod, revision_of

RAW = "digits-predictor-7d9f8b6c5d-x2x9z"


@pytest.mark.parametrize(
    ("pod", "revision"),
    [
        ("digits-predictor-00001-deployment-7d9f8b6c5d-x2x9z", "digits-predictor-00001"),
        ("digits-predictor-00001-deployment-6c8d9fcb4-bv5xk", "digits-predictor-00001"),
        (RAW, "digits-predictor-7d9f8b6c5d"),
        ("my-deployment-x-predictor-7d9f8b6c5d-x2x9z", "my-deployment-x-predictor-7d9f8b6c5d"),
        ("digits-predictor-0", ""),  # a StatefulSet's
        ("digits-predictor", ""),
        ("digits-predictor-7d9f8b6c5d", ""),
        ("digits-predictor-7D9f8b6c5d-x2x9z", ""),
        ("a-predictor-7d9f8b6c5a-x2x9z", ""),  # no 'a' among Kubernetes' letters
        ("-deployment-7d9f8b6c5d-x2x9z", "-deployment-7d9f8b6c5d"),
        ("http://localhost:9081/", ""),
        ("localhost", ""),
        ("", ""),
    ],
)
def test_what_a_pods_name_tells(pod: str, revision: str) -> None:
    assert of_pod(pod) == revision


@pytest.mark.parametrize(
    ("environ", "source", "revision"),
    [
        ({"SERVING_REVISION": "a", "K_REVISION": "b", "HOSTNAME": RAW}, RAW, "a"),
        ({"SERVING_REVISION": "", "K_REVISION": "b"}, RAW, "b"),
        ({"HOSTNAME": "other-5d4f7c8b9x-zzzzz"}, RAW, "digits-predictor-7d9f8b6c5d"),
        ({"HOSTNAME": RAW}, "", "digits-predictor-7d9f8b6c5d"),  # KServe knows no name when it writes the arguments
        ({"HOSTNAME": RAW}, "my-source", "digits-predictor-7d9f8b6c5d"),
        ({"HOSTNAME": "laptop"}, "", ""),
        ({}, "", ""),
    ],
)
def test_where_a_revision_comes_from(environ: dict[str, str], source: str, revision: str) -> None:
    assert revision_of(environ, source) == revision
    assert configuration_of(["--source-uri", source], environ).settings.identity.revision == revision


def test_a_flag_says_it_first() -> None:
    argv = ["--revision", "blue"]
    assert configuration_of(argv, {"SERVING_REVISION": "a"}).settings.identity.revision == "blue"

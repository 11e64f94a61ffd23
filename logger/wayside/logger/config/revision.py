"""Which revision of a model answers: as Knative says it, else as a pod's name tells it.

Source: Kubernetes' names of a Deployment's pods, `<deployment>-<hash of the template>-<five of the pod>`, in the
letters of k8s.io/apimachinery/pkg/util/rand; Knative's Deployments, `<revision>-deployment`.
Invariant: all pods of one rollout have one revision, those of another rollout have another; where the name does not
tell, it is empty. Pure.
"""

import re
from collections.abc import Mapping

_LETTERS = "[bcdfghjklmnpqrstvwxz2456789]"
_POD = re.compile(rf"(?P<deployment>.+)-(?P<template>{_LETTERS}{{8,10}})-{_LETTERS}{{5}}", re.ASCII)
_KNATIVE = "-deployment"


def revision_of(environ: Mapping[str, str], source: str) -> str:
    """`SERVING_REVISION`, `K_REVISION`, else by the pod's name: `source`, or `HOSTNAME` where that is none."""
    told = environ.get("SERVING_REVISION") or environ.get("K_REVISION")
    return told or of_pod(source) or of_pod(environ.get("HOSTNAME", ""))


def of_pod(name: str) -> str:
    """The Knative revision whose pod this is, else the name of its ReplicaSet, else nothing.

    A ReplicaSet is one state of its Deployment's template: it lasts as long as that is not changed. A StatefulSet's
    pods (`digits-0`) keep their names over rollouts, so theirs tell nothing.
    """
    match = _POD.fullmatch(name)
    if match is None:
        return ""
    deployment: str = match["deployment"]
    if deployment.endswith(_KNATIVE) and deployment != _KNATIVE:
        return deployment.removesuffix(_KNATIVE)
    return f"{deployment}-{match['template']}"

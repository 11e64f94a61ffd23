"""Whose part an event is: what names its subject, for ours and for Seldon's, and what names none."""

import pytest

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.pairs.subject import Role, Subject, part_key, role_of, subject_of
from wayside.eventing.vocabulary import (
    ADVERSARIAL,
    DRIFT,
    FEEDBACK,
    KSERVE_DRIFT,
    KSERVE_FEEDBACK,
    KSERVE_OUTLIER,
    OUTLIER,
    REQUEST,
    RESPONSE,
    SELDON_DRIFT,
    SELDON_FEEDBACK,
    SELDON_OUTLIER,
    SELDON_REQUEST,
    SELDON_RESPONSE,
)

OURS = {"subjectsource": "/model", "subjectid": "e1"}
SELDON = {
    "namespace": "cifar10",
    "inferenceservicename": "tfserving-cifar10",
    "endpoint": "model",
    "modelid": "resnet32",
    "requestid": "960f455d",
}
PUID = Subject("seldon:cifar10/tfserving-cifar10/model/resnet32", "960f455d")


def event(type_: str, name: str = "own-id", **extensions: str) -> CloudEvent:
    return CloudEvent(name, "/own-source", type_, b"{}", "2026-01-01T00:00:00Z", extensions=extensions)


@pytest.mark.parametrize(
    ("type_", "extensions", "role", "subject"),
    [
        (REQUEST, {}, Role.REQUEST, Subject("/own-source", "own-id")),
        (RESPONSE, {}, Role.RESPONSE, Subject("/own-source", "own-id")),
        (REQUEST, {**OURS, **SELDON}, Role.REQUEST, Subject("/own-source", "own-id")),
        (OUTLIER, OURS, Role.OUTLIER, Subject("/model", "e1")),
        (ADVERSARIAL, OURS, Role.ADVERSARIAL, Subject("/model", "e1")),
        (FEEDBACK, OURS, Role.FEEDBACK, Subject("/model", "e1")),
        (KSERVE_FEEDBACK, OURS, Role.FEEDBACK, Subject("/model", "e1")),
        (SELDON_FEEDBACK, SELDON, Role.FEEDBACK, PUID),
        (SELDON_FEEDBACK, {**SELDON, **OURS}, Role.FEEDBACK, Subject("/model", "e1")),
        (SELDON_REQUEST, SELDON, Role.REQUEST, PUID),
        (SELDON_RESPONSE, SELDON, Role.RESPONSE, PUID),
        (SELDON_OUTLIER, SELDON, Role.OUTLIER, PUID),
        (SELDON_REQUEST, {"requestid": "1", "namespace": "a/b%"}, Role.REQUEST, Subject("seldon:a%2Fb%25///", "1")),
    ],
)
def test_an_event_names_its_subject(type_: str, extensions: dict[str, str], role: Role, subject: Subject) -> None:
    assert (role_of(event(type_, **extensions)), subject_of(event(type_, **extensions))) == (role, subject)


@pytest.mark.parametrize(
    ("type_", "extensions", "reason"),
    [
        (OUTLIER, {}, "verdict names no subject: send 'subjectsource' and 'subjectid'"),
        (OUTLIER, SELDON, "verdict names no subject"),
        (OUTLIER, {"subjectsource": "/model"}, "verdict names no subject"),
        (KSERVE_FEEDBACK, SELDON, "feedback names no subject"),
        (SELDON_REQUEST, {}, "send 'requestid'"),
        (SELDON_FEEDBACK, {"requestid": ""}, "send 'requestid'"),
        (SELDON_DRIFT, SELDON, "cannot be joined"),
        (KSERVE_DRIFT, {}, "cannot be joined"),
        (KSERVE_OUTLIER, {}, "cannot be joined"),
    ],
)
def test_what_names_none_is_told_what_to_send(type_: str, extensions: dict[str, str], reason: str) -> None:
    with pytest.raises(MalformedEvent, match=reason):
        subject_of(event(type_, **extensions))


@pytest.mark.parametrize("type_", [SELDON_DRIFT, KSERVE_DRIFT, KSERVE_OUTLIER, "com.example.other"])
def test_what_cannot_be_joined_has_no_role(type_: str) -> None:
    assert role_of(event(type_)) is None


def test_a_client_cannot_choose_its_way_into_our_subjects() -> None:
    ours, theirs = event(REQUEST), event(SELDON_REQUEST, requestid="own-id")
    assert subject_of(ours) != subject_of(theirs)
    assert subject_of(theirs).source.startswith("seldon:")


def test_a_second_request_under_one_puid_has_the_key_of_the_first() -> None:
    first, second = event(SELDON_REQUEST, "1", **SELDON), event(SELDON_REQUEST, "2", **SELDON)
    assert part_key(first) == part_key(second) == (PUID.source, PUID.id, SELDON_REQUEST)
    assert part_key(event(OUTLIER, **OURS)) == ("/own-source", "own-id", OUTLIER)
    assert part_key(event(DRIFT)) == ("/own-source", "own-id", DRIFT)

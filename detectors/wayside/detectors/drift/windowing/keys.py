"""Which window key an event's rows belong to, and by what they are told apart inside a window.

Invariant: what is compared is not in the key, and what is not compared is.
"""

from dataclasses import replace

from wayside.detectors.drift.settings import Compared
from wayside.detectors.drift.windowing.values import WindowKey
from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import REVISION, ServiceKey


def key_of(event: CloudEvent, compared: Compared) -> tuple[WindowKey, str]:
    """An event's key and group. Where endpoints are compared, whatever revision each of them serves, the key has no
    revision either: a canary's is never the stable one's."""
    service, revision = ServiceKey.of(event), event.extensions.get(REVISION, "")
    match compared:
        case Compared.NOTHING:
            return WindowKey(service, revision), ""
        case Compared.REVISIONS:
            return WindowKey(service), revision
        case Compared.ENDPOINTS:
            return WindowKey(replace(service, endpoint="")), service.endpoint

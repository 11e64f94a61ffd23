"""What must hold for any bytes given as Broker and Trigger YAML: shared by hypothesis and by the guided fuzzer."""

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.triggers.destinations import RefHosts, Resolver
from wayside.eventing.triggers.documents import documents_of
from wayside.eventing.triggers.manifests import Manifests, manifests_of

LONGEST_REASON = 2000
NAME = "fuzz.yaml"
EVENTS = (
    CloudEvent("1", "/s", "a"),
    CloudEvent("a", "/s", "a", subject="é\n", extensions={"tier": "a", "n": "2147483647"}),
)


def check(content: bytes) -> Manifests | None:
    """Load: manifests whose filters answer and explain, or a refusal that names the file and gives its reason."""
    try:
        manifests = manifests_of(list(documents_of(content, NAME)), Resolver(RefHosts()), orphans=True)
    except ConfigurationError as exc:
        reason = str(exc)
        assert reason.startswith(NAME), reason
        assert reason.isprintable(), reason
        assert len(reason) <= LONGEST_REASON, reason
        return None
    for trigger in manifests.triggers:
        for event in EVENTS:
            assert trigger.filter.passes(event) in (True, False)
            assert trigger.filter.explain(event).isprintable()
    return manifests

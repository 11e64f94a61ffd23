"""A request's head, as whoever carries it hands it to the capture.

Source: knative.dev/pkg network handlers, as KServe's agent uses them: who is a probe.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from wayside.eventing.http.message import Headers

Fields = Mapping[bytes, bytes]  # the first value of each header, by its name in lower case
_PROBE_AGENTS: Final = (b"kube-probe/", b"Knative-Activator-Probe")


@dataclass(slots=True)
class RequestHead:
    """Method, target and headers as they were sent; names are lower case, and `fields` has the first value of each.

    `upgrade`: it asks for another protocol.
    """

    method: bytes
    target: bytes
    headers: Headers
    upgrade: bool = False
    fields: Fields = field(init=False)

    def __post_init__(self) -> None:
        self.fields = dict(reversed(self.headers))

    @property
    def is_probe(self) -> bool:
        """Whether Kubernetes or Knative asks after the model: no request of a client's, and never an event.

        As to KServe's agent, what else carries `K-Network-Probe` or `K-Kubelet-Probe` is traffic.
        """
        fields = self.fields
        return fields.get(b"user-agent", b"").startswith(_PROBE_AGENTS) or fields.get(b"k-network-probe") == b"probe"

    @property
    def is_health_check(self) -> bool:
        """Whether it is a probe by who sends it: kubelet, or Knative's activator."""
        return self.fields.get(b"user-agent", b"").startswith(_PROBE_AGENTS)

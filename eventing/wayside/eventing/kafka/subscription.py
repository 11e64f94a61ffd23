"""What a source subscribes to.

Invariant: a subscription can be used as it is: the topic of its dead letters is a name that Kafka takes.
"""

from dataclasses import dataclass, field

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.kafka.address import KafkaAddress, check_topic
from wayside.eventing.kafka.declarations import Declarations, topics_declared

DEAD_LETTERS = ".dead-letters"


@dataclass(frozen=True, slots=True)
class Subscription:
    """The topics, the group that reads them, how long the start waits for Kafka, and what plain records are."""

    address: KafkaAddress
    group: str
    wait_s: float = 60.0
    plain: Declarations = field(default_factory=Declarations)

    def __post_init__(self) -> None:
        """Raises `ConfigurationError`."""
        try:
            check_topic(self.dead_letters)
        except ConfigurationError as exc:
            raise ConfigurationError(
                f"--group {self.group[:64]!r}: use a-z A-Z 0-9 . _ -, at most 236; its dead letters go to a topic"
            ) from exc
        if not self.group or self.dead_letters in self.address.topics:
            raise ConfigurationError(f"--group {self.group!r} does not fit: it is empty, or reads its own dead letters")
        for topic in topics_declared(self.plain):
            if topic not in self.address.topics:
                raise ConfigurationError(f"--plain declares topic {topic[:64]!r}, which {self.address} does not read")

    @property
    def dead_letters(self) -> str:
        """The topic that takes what this group refuses for good."""
        return self.group + DEAD_LETTERS

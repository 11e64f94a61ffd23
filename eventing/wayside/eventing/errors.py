"""The errors that cross a boundary between rooms; each names its cause in words a user can act on."""


class WaysideError(Exception):
    """Base of every error that Wayside raises on purpose."""


class ConfigurationError(WaysideError):
    """A setting, file or address is wrong. A command turns it into one line and exit status 2."""


class MalformedEvent(WaysideError):
    """Bytes that claim to be a CloudEvent, or a payload, and are not. A server turns it into a 400 with this reason."""


class MalformedPayload(MalformedEvent):
    """The data of an event is no payload that can be read, or none of the protocol that it claims."""


class MissingExtra(ConfigurationError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}': pip install 'wayside[{extra}]'")


class QueueFull(WaysideError):
    """A bounded queue has no room; the caller drops and counts, or refuses. It never waits."""

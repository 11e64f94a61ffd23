"""Which Trigger a person means by a name, or by as much of it as tells it from the others.

Invariant: pure; a name that several have, or none, is refused with the list of those that there are.
"""

from collections.abc import Collection, Iterable

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.triggers.names import TriggerName

_SHOWN = 20


def choose_trigger(text: str, names: Collection[TriggerName]) -> TriggerName:
    """The one called NAME, NAMESPACE/NAME or NAMESPACE/BROKER/NAME. Raises `ConfigurationError`."""
    chosen = [name for name in names if text in (name.name, f"{name.namespace}/{name.name}", str(name))]
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise ConfigurationError(f"several Triggers are called {text[:128]!r}: {_listed(chosen)}")
    known = f"there are {_listed(names)}" if names else "there is none at all"
    raise ConfigurationError(f"no Trigger is called {text[:128]!r}: {known}")


def _listed(names: Iterable[TriggerName]) -> str:
    listed = sorted(map(str, names))
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more

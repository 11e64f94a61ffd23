"""Resolves a Knative Destination (`uri`, `ref`, or both) to a URL, with what `--resolve` says of names.

Invariant: a name resolves to the URL that the user gave for it, or to nothing: no address is ever guessed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.url import Url
from wayside.eventing.triggers.fields import Fields, shown

_LONGEST_NAME, _LONGEST_URL, _LONGEST_PROBLEM = 512, 8192, 512


@dataclass(frozen=True, slots=True)
class Resolver:
    """`urls` by name or by namespace/name; the longer form wins. What kind of object has the name is not looked at."""

    urls: Mapping[str, Url]

    def resolve(self, destination: Fields, namespace: str) -> Url:
        """The URL of a destination in an object of this namespace. Raises `ConfigurationError`."""
        destination.allow(("uri", "ref"))
        ref = destination.child("ref")
        if ref is None:
            return _url(destination, destination.text("uri"))
        base = self._named(ref, namespace)
        if not destination.has("uri"):
            return base
        relative = destination.text("uri")
        if "://" in relative or relative.startswith("//"):
            destination.fail("uri", "must be relative beside a ref")
        try:
            joined = urljoin(base.text, relative)
        except ValueError as exc:
            destination.fail("uri", f"is not a URI: {exc}")
        return _url(destination, joined)

    def _named(self, ref: Fields, namespace: str) -> Url:
        ref.allow(("apiVersion", "kind", "name", "namespace"))
        ref.text("kind")
        name = ref.text("name")
        full = f"{ref.text('namespace', namespace)}/{name}"
        if len(full) > _LONGEST_NAME:
            ref.fail("name", f"is longer than {_LONGEST_NAME} characters with its namespace")
        found = self.urls.get(full) or self.urls.get(name)
        problem = f"nothing says where {shown(full)} is: add --resolve {shown(name)}=http://HOST:PORT/"
        return found or ref.fail("name", problem)


class RefHosts(Mapping[str, Url]):
    """Says of every ref where it is: at a host that carries its name. For whoever asks what Triggers let pass, and
    sends nothing. A name that no host can have is nowhere."""

    suffix = ".wayside.invalid"

    def __getitem__(self, key: str) -> Url:
        try:
            return Url.parse(f"http://{key.rpartition('/')[2]}{self.suffix}/")
        except ConfigurationError as exc:
            raise KeyError(key) from exc

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _url(destination: Fields, text: str) -> Url:
    if len(text) > _LONGEST_URL:
        destination.fail("uri", f"is longer than {_LONGEST_URL} characters")
    try:
        return Url.parse(text)
    except ConfigurationError as exc:
        problem = str(exc)
        destination.fail("uri", problem if len(problem) <= _LONGEST_PROBLEM else problem[:_LONGEST_PROBLEM] + "…")

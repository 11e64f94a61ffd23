"""Resolves a Knative Destination (`uri`, `ref`, or both) to a URL, with what `--resolve` says of names.

Invariant: a name resolves to the URL that the user gave for it, or to nothing: no address is ever guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

from wayside.eventing.broker.fields import Fields
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.url import Url


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
        if destination.values.get("uri") is None:
            return base
        relative = destination.text("uri")
        if "://" in relative or relative.startswith("//"):
            destination.fail("uri", "must be relative beside a ref")
        return _url(destination, urljoin(base.text, relative))

    def _named(self, ref: Fields, namespace: str) -> Url:
        ref.allow(("apiVersion", "kind", "name", "namespace"))
        ref.text("kind")
        name = ref.text("name")
        full = f"{ref.text('namespace', namespace)}/{name}"
        found = self.urls.get(full) or self.urls.get(name)
        return found or ref.fail("name", f"nothing says where {full} is: add --resolve {name}=http://HOST:PORT/")


def _url(destination: Fields, text: str) -> Url:
    try:
        return Url.parse(text)
    except ConfigurationError as exc:
        destination.fail("uri", str(exc))

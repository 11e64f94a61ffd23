"""Text as Go's standard library writes it: what stands in the files of KServe's agent.

Source: Go 1.26: encoding/json (HTML-safe strings), encoding/csv (Writer), net/url (URL, String), time (RFC3339Nano).
Invariant: no I/O; for what the agent can hold, the same bytes as Go's.
"""

import json
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

_HTML = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}  # as encoding/json
)
_NOT_SAFE = re.compile("[<>&\u2028\u2029]")
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)
_SPECIAL = re.compile(r'[,"\r\n]|^\s|^\\\.$')
_TRAILING_ZEROS = re.compile(r"\.?0*Z$")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_RAW_PATH = re.compile(r"[A-Za-z0-9\-_.~!$&'()*+,;=:@\[\]/%]*")
_RAW_FRAGMENT = re.compile(r"[A-Za-z0-9\-_.~!$&'()*+,;=:@\[\]/%?]*")
_SAFE_IN_PATH = "$&+,/:;=@"
_SAFE_IN_FRAGMENT = "$&+,/:;=@?!()*"


def json_text(value: object) -> str:
    """A value as json.Marshal writes it; objects have their keys sorted."""
    text = _JSON.encode(value)
    return text.translate(_HTML) if _NOT_SAFE.search(text) else text


def csv_field(text: str) -> str:
    """One field as csv.Writer writes it: quoted only where it has to be."""
    if _SPECIAL.search(text) is None:
        return text
    return '"' + text.replace('"', '""') + '"'


def short_time(text: str) -> str:
    """RFC 3339 in UTC without zeros at the end of its fraction."""
    return _TRAILING_ZEROS.sub("Z", text) if "." in text else text


@dataclass(frozen=True, slots=True)
class GoUrl:
    """net/url's URL. `user` is the name alone: a password is not kept. `path` and `fragment` are decoded; their raw
    forms are set only where Go would not encode them in the same way."""

    scheme: str = ""
    opaque: str = ""
    user: str | None = None
    host: str = ""
    path: str = ""
    fragment: str = ""
    raw_query: str = ""
    raw_path: str = ""
    raw_fragment: str = ""
    force_query: bool = False

    @classmethod
    def parse(cls, text: str) -> "GoUrl":
        """As url.Parse; what that refuses is kept as a path."""
        rest, _, fragment = text.partition("#")
        if _BAD_PERCENT.search(rest) or _BAD_PERCENT.search(fragment):
            return cls(path=text)
        scheme, rest = _scheme(rest)
        force_query = rest.endswith("?") and rest.count("?") == 1
        rest, _, query = rest.partition("?")
        raw_fragment = "" if quote(unquote(fragment), safe=_SAFE_IN_FRAGMENT) == fragment else fragment
        tail = {"fragment": unquote(fragment), "raw_query": query, "raw_fragment": raw_fragment}
        if scheme and not rest.startswith("/"):
            return cls(scheme, opaque=rest, force_query=force_query, **tail)
        user, host, path = _authority(rest)
        raw_path = "" if quote(unquote(path), safe=_SAFE_IN_PATH) == path else path
        return cls(scheme, user=user, host=host, path=unquote(path), raw_path=raw_path, force_query=force_query, **tail)

    def json(self) -> str:
        """The struct as json.Marshal writes it: of the user it keeps only that there is one."""
        members: dict[str, object] = {
            "Scheme": self.scheme,
            "Opaque": self.opaque,
            "User": None if self.user is None else {},
            "Host": self.host,
            "Path": self.path,
            "Fragment": self.fragment,
            "RawQuery": self.raw_query,
            "RawPath": self.raw_path,
            "RawFragment": self.raw_fragment,
            "ForceQuery": self.force_query,
            "OmitHost": False,
        }
        return "{" + ",".join(f'"{name}":{json_text(value)}' for name, value in members.items()) + "}"

    def text(self, *, kserve_compatible: bool) -> str:
        """The URL's text. The agent's has lost the user's name, since its URLs went through JSON."""
        user = "" if self.user is None else f"{'' if kserve_compatible else self.user}@"
        start = f"{self.scheme}:" if self.scheme else ""
        if self.opaque:
            start += self.opaque
        else:
            slashes = "//" if self.scheme or self.host or self.user is not None else ""
            has_authority = self.host or self.user is not None or self.path.startswith("/")
            start += f"{slashes if has_authority else ''}{user}{self.host}{self._escaped_path()}"
        query = f"?{self.raw_query}" if self.raw_query or self.force_query else ""
        return start + query + (f"#{self._escaped_fragment()}" if self.fragment else "")

    def _escaped_path(self) -> str:
        return (
            self.raw_path if self.raw_path and _RAW_PATH.fullmatch(self.raw_path) else quote(self.path, _SAFE_IN_PATH)
        )

    def _escaped_fragment(self) -> str:
        raw = self.raw_fragment
        return raw if raw and _RAW_FRAGMENT.fullmatch(raw) else quote(self.fragment, _SAFE_IN_FRAGMENT)


def _scheme(text: str) -> tuple[str, str]:
    scheme, colon, rest = text.partition(":")
    return (scheme.lower(), rest) if colon and _SCHEME.fullmatch(scheme) else ("", text)


def _authority(text: str) -> tuple[str | None, str, str]:
    """User, host and path of what stands before the query."""
    if not text.startswith("//") or text.startswith("///"):
        return None, "", text.removeprefix("//")
    authority, slash, path = text[2:].partition("/")
    user, at, host = authority.rpartition("@")
    return unquote(user.partition(":")[0]) if at else None, host, slash + path

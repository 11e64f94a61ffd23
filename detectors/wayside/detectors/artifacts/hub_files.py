"""Files of an artifact in a repository of the Hugging Face hub: `hf://OWNER/REPO[@REVISION][/FOLDER]`.

Source: huggingface_hub, `hf_hub_url` and `get_token` (HF_ENDPOINT, HF_TOKEN, the token of `hf auth login`).
KServe's form of a revision, `hf://OWNER/REPO:REVISION`, is taken too. Needs the extra `remote`.
Invariant: nothing is kept in the hub's cache: a file is read into memory, within its limit, and verified there.
"""

import re
from urllib.parse import SplitResult, unquote

from wayside.detectors.artifacts.fetching import FetchSettings
from wayside.detectors.artifacts.files import Files, check_file_name
from wayside.detectors.artifacts.web_files import Wanted, fetch
from wayside.eventing.errors import ConfigurationError, MissingExtra

try:
    from huggingface_hub import get_token, hf_hub_url
    from huggingface_hub.errors import HFValidationError
except ImportError as exc:
    raise MissingExtra("An artifact at hf://", "remote") from exc

_REPOSITORY = re.compile(r"([^/@:]+)/([^/@:]+)(?:[@:]([^/]+))?(?:/(.*))?")


class HubFiles(Files):
    """The files of a repository's folder, at a revision (a branch, a tag or a commit; `main` if none is named)."""

    def __init__(self, parts: SplitResult, settings: FetchSettings) -> None:
        """Raises `ConfigurationError` for what names no repository."""
        found = _REPOSITORY.fullmatch(f"{parts.netloc}{parts.path}".rstrip("/"))
        if found is None:
            raise ConfigurationError("an artifact on the hub is hf://OWNER/REPO, with @REVISION and /FOLDER if need be")
        owner, name, revision, folder = found.groups()
        self._repository = f"{owner}/{name}"
        self._revision = unquote(revision) if revision else None
        self._folder = check_file_name(folder) if folder else ""
        self._settings = settings
        at = f"@{self._revision}" if self._revision else ""
        self.where = f"hf://{self._repository}{at}{'/' if folder else ''}{self._folder}"

    def read(self, name: str, limit_bytes: int) -> bytes:
        said = self._settings.environ.get
        try:
            url = hf_hub_url(
                self._repository,
                check_file_name(name),
                subfolder=self._folder or None,
                revision=self._revision,
                endpoint=said("HF_ENDPOINT", "").rstrip("/") or None,
            )
        except HFValidationError as exc:
            raise ConfigurationError(f"{self.where} is no repository of the hub: {exc}") from exc
        token = said("HF_TOKEN") or get_token()
        secrets = {"Authorization": f"Bearer {token}"} if token else {}
        return fetch(Wanted(url, f"{self.where}/{name}", secrets), limit_bytes, self._settings)

    def names(self) -> list[str]:
        return []

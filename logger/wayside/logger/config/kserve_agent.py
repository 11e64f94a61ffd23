"""Running KServe's own agent in this process's place, for duties that are not a logger's: the batcher, the puller.

The image of `agent.image` is cluster-wide, so a pod that asks for a batcher gets ours too; it carries KServe's agent.
Source: kserve/kserve cmd/agent/main.go: a single flag that it does not know ends it with status 2.
Invariant: its arguments are those that were given, in order and as written, less our own; its environment is untouched.
Where redaction is asked for, or cannot be told, it is given no log url: it would send what is to be kept in.
"""

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from wayside.eventing.errors import ConfigurationError
from wayside.logger.config.build import ANNOTATION_PREFIX, is_setting
from wayside.logger.config.configuration import ENVIRONMENT, asks_for_redaction
from wayside.logger.config.options import KSERVE_AGENT, parser
from wayside.logger.config.tokens import Given, read_tokens
from wayside.logger.config.values import begins_a_pair

_DUTIES = {"--enable-puller": "the model puller", "--enable-batcher": "the batcher"}
_PATH, _PATH_VARIABLE = "--kserve-agent", f"{ENVIRONMENT.removesuffix('_LOGGER')}_KSERVE_AGENT"
_ANNOTATIONS, _LOG_URL = "--metadata-annotations", "--log-url"
# cmd/agent/main.go at aaac4e294
_KNOWN = frozenset(
    {
        *("--port", "--component-port", "--enable-puller", "--config-dir", "--model-dir", "--log-url", "--workers"),
        *("--source-uri", "--log-mode", "--log-store-path", "--log-store-format", "--log-marshaller-url"),
        *("--log-marshaller-port", "--log-batch-size", "--log-batch-interval", "--inference-service", "--namespace"),
        *("--endpoint", "--component", "--metadata-headers", "--metadata-annotations", "--enable-batcher"),
        *("--max-batchsize", "--max-latency", "--probe-period", "--logger-ca-cert-file", "--logger-tls-skip-verify"),
    }
)


@dataclass(frozen=True, slots=True)
class AgentCommand:
    """KServe's agent as it is to be run, and what to say of it first."""

    path: Path
    arguments: tuple[str, ...]
    notes: tuple[str, ...]

    def replace_process(self, environ: Mapping[str, str]) -> NoReturn:
        """Raises `ConfigurationError` where the program is not there or cannot be run; else it never returns."""
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and the next program would inherit that
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execve(self.path, [str(self.path), *self.arguments], dict(environ))
        except OSError as exc:
            raise ConfigurationError(
                f"{self.path}: {exc.strerror}: it is KServe's agent that does this; set {_PATH} or {_PATH_VARIABLE} to"
                " it, or use an image that carries it, as wayside-logger does"
            ) from exc


def agent_command(argv: Sequence[str], environ: Mapping[str, str]) -> AgentCommand | None:
    """What to run in the place of the logger; None where nothing but a logger is asked for. Pure but for the settings
    file, which may ask for redaction."""
    given = read_tokens(parser(), argv)
    duties = [words for flag, words in _DUTIES.items() if _is_on(given, flag)]
    if not duties:
        return None
    logs = bool(_last(given, _LOG_URL))
    withheld = logs and asks_for_redaction(argv, environ)
    left = [one for one in given if not _is_ours(one) and not (withheld and one.flag == _LOG_URL)]
    arguments = [token for one in left for token in _without_our_annotations(one)]
    path = _last(given, _PATH) or environ.get(_PATH_VARIABLE) or KSERVE_AGENT
    return AgentCommand(Path(path), tuple(arguments), tuple(_notes(given, duties, logs=logs, withheld=withheld)))


def _notes(given: Sequence[Given], duties: Sequence[str], *, logs: bool, withheld: bool) -> list[str]:
    notes = [f"KServe's agent is run instead, for {' and '.join(duties)}"]
    dropped = sorted({str(one.flag) for one in given if _is_ours(one) and one.flag != _PATH})
    if dropped:
        notes.append(f"it does not know, and is not given: {' '.join(dropped)}")
    unheeded = sorted({name for one in given if one.flag == _ANNOTATIONS for name in _our_annotations(one)})
    if unheeded:
        notes.append(f"these annotations have no effect with it: {' '.join(unheeded)}")
    if withheld:
        notes.append("nothing is logged: redaction is asked for, or its settings cannot be read, and it has none")
    elif logs:
        notes.append("logging is KServe's agent's here, without Wayside's bounds, retries and metrics")
    return notes


def _is_ours(given: Given) -> bool:
    return given.flag is not None and given.flag not in _KNOWN and given.flag in parser()._option_string_actions


def _is_on(given: Sequence[Given], flag: str) -> bool:
    return next((one.is_on for one in reversed(given) if one.flag == flag), False)


def _last(given: Sequence[Given], flag: str) -> str:
    return next((one.value or "" for one in reversed(given) if one.flag == flag), "")


def _our_annotations(given: Given) -> list[str]:
    return [item.partition("=")[0] for item in str(given.value).split(",") if is_setting(item)]


def _without_our_annotations(given: Given) -> tuple[str, ...]:
    """Our settings are no annotations, and their quotes would stop the agent. All else stays as it was written."""
    if given.flag != _ANNOTATIONS or ANNOTATION_PREFIX not in (given.value or "").lower():
        return given.written
    kept, ours = [], False
    for item in str(given.value).split(","):
        ours = is_setting(item) or (ours and not begins_a_pair(item))
        kept += [] if ours else [item]
    return (_ANNOTATIONS, ",".join(kept))

"""Settings that a service gives as annotations, since KServe's injector passes nothing else: `logger.wayside.dev/…`.

They arrive in `--metadata-annotations`, where the InferenceService lists their names in `metadataAnnotations`.
Source: kserve's agent_injector.go, which joins `name=value` with commas and quotes nothing; so a value of ours holds no
comma, and lists are written with semicolons.
Invariant: pure; none of these annotations travels with an event.
"""

import re
from collections.abc import Iterable, Mapping

from wayside.logger.config.build import is_setting
from wayside.logger.config.options import LISTS
from wayside.logger.config.values import annotation_pairs


def injected_settings(metadata_annotations: Iterable[str]) -> Mapping[str, list[str]]:
    """The values by flag. Raises `ConfigurationError` for what are no pairs at all."""
    found: dict[str, list[str]] = {}
    for key, value in annotation_pairs(metadata_annotations).items():
        if is_setting(key):
            flag = key.partition("/")[2]
            found.setdefault(flag, []).extend(split_values(flag, value))
    return found


def split_values(flag: str, text: str) -> list[str]:
    """The items of a list that is written with semicolons or on lines of their own; what is no list has one."""
    if flag not in LISTS:
        return [text.strip()]
    return [item.strip() for item in re.split(r"[;\n]", text) if item.strip()]

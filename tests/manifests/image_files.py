"""The images by name: the Dockerfile that each is built from, and what it says of the container.

Invariant: a name stands for one Dockerfile, the one whose build command in its head tags it so.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from manifest_files import ROOT

_TAG = re.compile(r"docker build -f (\S+) -t ([a-z-]+):(\S+)")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction with its continuation lines joined; `stage` counts FROM from 1."""

    stage: int
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A Dockerfile, read. `context` is where COPY looks, None for a folder that a command writes first."""

    name: str
    version: str
    path: Path
    instructions: tuple[Instruction, ...]

    @property
    def base(self) -> str:
        """What the last stage is built from."""
        return self.all("FROM")[-1].text.split()[0]

    def all(self, name: str) -> list[Instruction]:
        return [instruction for instruction in self.instructions if instruction.name == name]

    def last_stage(self, name: str) -> list[str]:
        """The texts of an instruction in the stage that becomes the image."""
        last = self.instructions[-1].stage
        return [instruction.text for instruction in self.all(name) if instruction.stage == last]

    @property
    def environment(self) -> Mapping[str, str]:
        pairs = [pair for text in self.last_stage("ENV") for pair in shlex.split(text)]
        return dict(pair.split("=", 1) for pair in pairs)

    @property
    def ports(self) -> set[int]:
        return {int(port) for text in self.last_stage("EXPOSE") for port in text.split()}


@cache
def images() -> Mapping[str, Image]:
    """Every image of ours by its name, without the tag."""
    skipped = {".git", ".venv", ".venvs", "node_modules", ".state"}
    paths = [path for path in ROOT.rglob("*Dockerfile") if not skipped & set(path.relative_to(ROOT).parts)]
    read = [_read(path) for path in sorted(paths)]
    assert len({image.name for image in read}) == len(read), "two Dockerfiles tag the same image"
    return {image.name: image for image in read}


def image_of(reference: str) -> Image:
    """The image behind NAME:TAG, itself or what it is built from where it adds files alone."""
    name, _, tag = reference.partition(":")
    image = images()[name]
    assert tag == image.version, f"{reference}: its Dockerfile says {image.version}"
    return image if image.last_stage("ENTRYPOINT") else image_of(image.base)


def _read(path: Path) -> Image:
    text = path.read_text(encoding="utf-8")
    tagged = _TAG.search(text)
    assert tagged, f"{path}: its head does not say how it is built"
    assert ROOT / tagged[1] == path, f"{path}: its head builds {tagged[1]}"
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"(?m)^#.*\n", "", text))
    stage, found = 0, []
    for line in filter(None, map(str.strip, joined.splitlines())):
        name, _, rest = line.partition(" ")
        stage += name == "FROM"
        found.append(Instruction(stage, name, rest.strip()))
    return Image(tagged[2], tagged[3], path, tuple(found))

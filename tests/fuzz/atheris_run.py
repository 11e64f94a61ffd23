"""Runs a fuzz target with atheris: the command line names the corpus' folder, then atheris' own flags."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import atheris


def fuzz(check: Callable[[bytes], object], seeds: Iterable[bytes]) -> None:
    """Put the seeds beside what earlier runs found, and fuzz until atheris ends the process."""
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    atheris.Setup([sys.argv[0], str(corpus), *sys.argv[2:]], check)
    atheris.Fuzz()

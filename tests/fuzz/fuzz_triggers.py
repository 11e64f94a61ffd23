"""Coverage-guided fuzzing of Broker and Trigger YAML with atheris: `scripts/fuzz [SECONDS] triggers`.

An input is a file of manifests. Seeds are those of `seed_manifests`.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["wayside"]):
    from manifest_invariants import check
    from seed_manifests import seeds


def fuzz_one(data: bytes) -> None:
    check(data)


def main() -> None:
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    atheris.Setup([sys.argv[0], str(corpus), *sys.argv[2:]], fuzz_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

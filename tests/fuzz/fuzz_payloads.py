"""Coverage-guided fuzzing of every payload reader with atheris: `scripts/fuzz [SECONDS]`.

The first five bytes of an input choose what is declared, the rest is the body. Seeds are the bodies of `seed_bodies`.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["wayside"]):
    from body_invariants import check, message_from
    from seed_bodies import seeds


def fuzz_one(data: bytes) -> None:
    check(message_from(data[:5], data[5:]))


def main() -> None:
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    atheris.Setup([sys.argv[0], str(corpus), *sys.argv[2:]], fuzz_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

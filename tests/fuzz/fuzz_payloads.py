"""Coverage-guided fuzzing of every payload reader with atheris: `scripts/fuzz [SECONDS]`.

The first five bytes of an input choose what is declared, the rest is the body. Seeds are the bodies of `seed_bodies`.
"""

import atheris
from atheris_run import fuzz

with atheris.instrument_imports(include=["wayside"]):
    from body_invariants import check, message_from
    from seed_bodies import seeds


def fuzz_one(data: bytes) -> None:
    check(message_from(data[:5], data[5:]))


if __name__ == "__main__":
    fuzz(fuzz_one, seeds())

"""Coverage-guided fuzzing of Broker and Trigger YAML with atheris: `scripts/fuzz [SECONDS] triggers`.

An input is a file of manifests. Seeds are those of `seed_manifests`.
"""

import atheris
from atheris_run import fuzz

with atheris.instrument_imports(include=["wayside"]):
    from manifest_invariants import check
    from seed_manifests import seeds

if __name__ == "__main__":
    fuzz(check, seeds())

"""Coverage-guided fuzzing of the event codecs (HTTP, JSON, Kafka) with atheris: `scripts/fuzz [SECONDS] codec`."""

import atheris
from atheris_run import fuzz

with atheris.instrument_imports(include=["wayside"]):
    from codec_invariants import check
    from seed_messages import seeds

if __name__ == "__main__":
    fuzz(check, seeds())

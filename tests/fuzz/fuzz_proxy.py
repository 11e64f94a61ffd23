"""Coverage-guided fuzzing of the logger's HTTP/1.1 connections with atheris: `scripts/fuzz [SECONDS] proxy`."""

import atheris
from atheris_run import fuzz

with atheris.instrument_imports(include=["wayside.logger.proxy", "wayside.logger.capture"]):
    from proxy_invariants import check_play
    from seed_plays import plays

if __name__ == "__main__":
    fuzz(check_play, plays())

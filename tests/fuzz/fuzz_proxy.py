"""Coverage-guided fuzzing of the logger's HTTP/1.1 connections with atheris: `scripts/fuzz [SECONDS] proxy`."""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["wayside.logger.proxy", "wayside.logger.capture"]):
    from proxy_invariants import check_play
    from seed_plays import plays


def main() -> None:
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, play in enumerate(plays()):
        (corpus / f"seed-{number:03}").write_bytes(play)
    atheris.Setup([sys.argv[0], str(corpus), *sys.argv[2:]], check_play)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

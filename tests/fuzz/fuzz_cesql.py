"""Coverage-guided fuzzing of the expression language with atheris: `scripts/fuzz [SECONDS] cesql`."""

import atheris
from atheris_run import fuzz

with atheris.instrument_imports(include=["wayside.eventing.cesql"]):
    from cesql_invariants import check
    from seed_expressions import seeds

if __name__ == "__main__":
    fuzz(check, seeds())

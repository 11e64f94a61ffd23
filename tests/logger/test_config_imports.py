"""The settings are read with the standard library alone: an app that logs in process needs nothing else."""

import subprocess
import sys

import pytest

EXTRAS = ["httptools", "uvloop", "prometheus_client", "confluent_kafka", "yaml", "numpy", "obstore"]


@pytest.mark.parametrize("module", ["wayside.logger.config.configuration", "wayside.logger.config.kserve_agent"])
def test_no_extra_is_needed(module: str) -> None:
    lines = ["import sys", *(f"sys.modules[{name!r}] = None" for name in EXTRAS), f"from {module} import *"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.stderr == ""

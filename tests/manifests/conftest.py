"""Makes the support modules of this folder importable to its tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

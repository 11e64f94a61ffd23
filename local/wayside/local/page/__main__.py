"""`python -m wayside.local.page`: the same as `wayside page`."""

import os
import sys

from wayside.local.page.cli import main

sys.exit(main(sys.argv[1:], os.environ))

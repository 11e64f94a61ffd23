"""`python -m wayside.eventing.broker`: the same as `wayside broker`."""

import os
import sys

from wayside.eventing.broker.cli import main

sys.exit(main(sys.argv[1:], os.environ))

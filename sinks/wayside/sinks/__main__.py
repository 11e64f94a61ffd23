"""`python -m wayside.sinks records|prometheus …`: the image's entry point."""

import os
import sys

from wayside.sinks.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

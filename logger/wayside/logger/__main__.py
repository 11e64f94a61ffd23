"""`python -m wayside.logger`: the image's entry point, with the arguments that KServe's injector writes."""

import os
import sys

from wayside.logger.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

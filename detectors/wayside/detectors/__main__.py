"""`python -m wayside.detectors`: the image's entry point; takes `wayside detect`'s arguments, or adserver's."""

import os
import sys

from wayside.detectors.serving.adserver import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

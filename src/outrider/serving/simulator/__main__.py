"""`python -m outrider.serving.simulator serve MODEL ...`."""

import sys

from outrider.serving.simulator.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

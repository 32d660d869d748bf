"""These run in a network namespace, which `test_inside_a_network.py` makes; elsewhere they are not collected."""

import os

collect_ignore_glob = [] if os.environ.get("OUTRIDER_TESTS_INSIDE") else ["test_*.py"]

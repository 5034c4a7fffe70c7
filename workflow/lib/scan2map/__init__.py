"""scan2map: from scanner exports to trusted quantitative maps, evaluation and figures."""

import os

__version__ = "0.1.0"

# Threads that wait for each other sleep instead of spinning: on shared cores (a cluster node, a test run) spinning
# made small parallel loops over ten times slower. Read once, when the OpenMP library is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

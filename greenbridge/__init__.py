"""The application: settings, wiring, demonstration and command line."""

import os

# the estimator's matrices are small: OpenBLAS' threads would spin on other cores for longer than they compute
# (half of the processor time of a played day); read when numpy is first imported
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

"""Settings of every test process: one thread each, so that results repeat and parallel tests do not fight for cores."""

from __future__ import annotations

import os

# Read once, when torch and MuJoCo load: hence before any test module is imported.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"

"""Simulates CUDA devices in each process of Python that has this folder in PYTHONPATH."""

import os

from tests.cuda.simulated import simulated

running = simulated(int(os.environ["EVOPRUNE_SIMULATED_DEVICES"]))
running.__enter__()

"""Kernels of one cloud: `per_sample.py` says how a batch of them runs on each platform."""

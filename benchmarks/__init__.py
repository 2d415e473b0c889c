"""Measure the training step beside its PyTorch reference: `launch/benchmark.py` is the command.

`contenders` (who, and what one step is) → `worker` (a process that runs steps) → `processes` (how the
command talks to it) → `compare` and `sweep` (the protocol) → `ratios` (statistics) → `report` (tables, JSON,
pictures). `training`, `loop` and `kernels` measure apart: learning curves, the idle share, single kernels.
"""

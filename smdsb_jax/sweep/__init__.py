"""Whole tables of runs: which runs, what is left of them, running them, and the table they make.

`launch/sweep.py` is the command, `configs/tables.py` has the tables. Training does not import this package.
"""

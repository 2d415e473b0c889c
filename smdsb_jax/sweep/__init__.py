"""Whole tables of runs: which runs, what is left of them, running them, and the table they make.

`smdsb sweep` is the command, `configs/tables.py` has the tables. Training does not import this package.
"""

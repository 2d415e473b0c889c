"""A training run: its loop, its evaluations, and what it leaves on disk."""

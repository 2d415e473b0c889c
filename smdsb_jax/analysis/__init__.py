"""Studies of finished runs: what they say about the method. Training does not import this package."""

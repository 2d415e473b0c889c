"""`python -m smdsb_jax WORD …` is `smdsb WORD …`."""

import os
import sys

if not __package__:  # started by its path, as a sweep starts its trainings: the folder above is the place
    sys.path[0] = os.path.dirname(sys.path[0])

from smdsb_jax.commands import main

if __name__ == "__main__":
    main()

"""One file per data set, methods, tables: `smdsb_jax.configs`, also where the package is installed."""

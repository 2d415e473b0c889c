"""The commands of smdsb."""

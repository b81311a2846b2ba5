"""An outside package with a data set: what docs/adding_a_dataset.md shows."""

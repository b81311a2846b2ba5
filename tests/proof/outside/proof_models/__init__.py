"""Backbones of an outside package, tiny and with random weights, for `tests/same_numbers.py` alone."""

"""Compiled loops, each with a slower twin in numpy or torch that says the same and works without them."""

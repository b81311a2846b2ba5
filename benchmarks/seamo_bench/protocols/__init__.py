"""One module per protocol; found by listing this folder."""

"""One module per backbone family; found by listing this folder, no torch at import."""

"""One module per published archive; found by listing this folder, imported when asked for."""

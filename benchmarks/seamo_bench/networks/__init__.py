"""The networks of the backbone families, in torch."""

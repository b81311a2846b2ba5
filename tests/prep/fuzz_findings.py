"""Inputs that once ended in a foreign exception, a crash or without an end, by reader, in base 85."""

FINDINGS: dict[str, list[bytes]] = {}

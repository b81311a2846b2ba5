"""Heads that protocols put on features."""

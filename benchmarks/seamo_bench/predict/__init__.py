"""Trained heads applied to new images."""

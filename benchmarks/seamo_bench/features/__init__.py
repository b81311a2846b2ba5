"""Pooled features: computed once, kept, read as they are asked for; what a pass costs."""

"""Scores of predictions with their intervals: numpy only."""

"""What a store gives a protocol: labels, splits, scenes, places."""

"""From a backbone's name to its network: cards, weights, reference outputs."""

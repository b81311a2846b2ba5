"""The torch side of a store: batches, crops, normalisation."""

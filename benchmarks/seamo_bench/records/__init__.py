"""What a run leaves behind: records, predictions, trained heads, replicates."""

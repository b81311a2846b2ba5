"""The store: chunked, sharded, checksummed samples that a team shares."""

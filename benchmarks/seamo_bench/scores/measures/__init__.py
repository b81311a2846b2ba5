"""The metrics, a file for each kind: found by listing this folder. A file has `METRICS`; adding one edits no other."""

"""The tabs of the report, a file each: found by listing this folder. A file has `TAB`; adding one edits no other."""

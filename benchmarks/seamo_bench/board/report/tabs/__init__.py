"""The tabs of the report, a module and a template each: found by listing this folder, adding one edits no other."""

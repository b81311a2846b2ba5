"""Records put side by side: columns, comparisons, tables, maps, the report."""

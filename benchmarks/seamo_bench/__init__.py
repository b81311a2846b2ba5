"""seamo-bench: every backbone on every store under the same protocols."""

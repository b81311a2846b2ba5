"""What knows the paper's own tables and figures: studies, reproduction, compute, sheets."""

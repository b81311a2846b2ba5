"""Two-stage pretraining: recipes, loop, checkpoints, figures."""

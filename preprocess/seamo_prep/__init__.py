"""seamo-prep: published archives to stores."""

"""What is asked of records with the stores at hand, and kept beside them (`seamo_bench.records.answers`)."""

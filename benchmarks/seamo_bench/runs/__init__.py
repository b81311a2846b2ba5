"""From a suite to records: the plan, the run, one evaluation."""

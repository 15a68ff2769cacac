"""The pipeline over one run directory: record -> audit -> check -> report."""

"""A pack run's report and the comparison of two bundles: JSON documents, and pages that need nothing else."""

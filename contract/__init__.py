"""What at least two parts of litefleet must agree on. Imports none of the parts."""

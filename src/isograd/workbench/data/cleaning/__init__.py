"""Clean data by named steps, pure functions that say how many rows they touched; what changes values travels with the model."""

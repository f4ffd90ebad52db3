"""The doors: one folder a framework, with the same file names in each; the only importers of their framework."""

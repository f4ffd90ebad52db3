"""The reference door: a NumPy network with a backward pass written out by hand, the oracle for every other door."""

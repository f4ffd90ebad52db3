"""Doubt data before any training does: one file a family of faults, each a pure function from a case to doubts."""

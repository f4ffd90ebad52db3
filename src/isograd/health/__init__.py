"""The heart: pure functions from record to record; no framework, file, clock or hidden randomness."""

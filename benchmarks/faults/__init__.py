"""Healthy training programs, operators that put one fault into them, and which of the faults do harm."""

"""Foretell, measure, explain and repair gradient flow."""

__version__ = "0.1.0"

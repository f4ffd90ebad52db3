"""The nouns: frozen dataclasses of the standard library alone, which may travel between all rooms."""

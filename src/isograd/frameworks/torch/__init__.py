"""The torch door: describe a module, observe a copy of it, watch a live loop."""

"""From isograd.toml to a frozen project; the only room that knows the order of the others."""

"""From raw data to a deployed model, on torch: a room each, which never import one another."""

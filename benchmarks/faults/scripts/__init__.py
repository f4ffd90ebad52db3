"""Training scripts as people write and post them; ``faults.third`` enters them, and faults are edits of their text."""

"""Change training rows a little each time they are seen, by (seed, epoch, row) alone; never at evaluation or prediction."""

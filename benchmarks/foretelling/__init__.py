"""Random configurations of small networks on small data, tried and trained: the grounds on which risk is learned."""

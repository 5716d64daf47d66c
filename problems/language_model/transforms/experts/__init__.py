"""The routed experts of mixtures as a transform: the number that stay in each block, by scores."""

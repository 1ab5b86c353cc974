"""Hard limits of the costs of networks: which costs, and the best genotype within them."""

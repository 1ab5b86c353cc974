"""The search: supernet with optimizers and components, alphas, costs and collapse diagnosis."""

"""Parts of a search: the searcher, architecture steps, expected costs and collapse checks."""

"""Parts of a search: the searcher, architecture steps and expected costs."""

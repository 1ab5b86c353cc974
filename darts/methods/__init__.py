"""Parts of search methods."""

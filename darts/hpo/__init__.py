"""Black-box search (``darts tune``): studies, search spaces, workers, analysis and result files."""

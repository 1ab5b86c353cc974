"""Black-box search over the configurations of other commands: studies, workers, result files."""

"""What a point of a black-box search is worth: by training, by a supernet, or from a table."""

from darts.evaluation.evaluation import EVALUATIONS, Candidate, Evaluation, Tools

__all__ = ["EVALUATIONS", "Candidate", "Evaluation", "Tools"]

"""Scores of segmentations: J, F and their statistics, by the rules of the benchmarks; public API.

Light to import: numpy alone. Scores are in [0, 1]; reports show them as printed by each benchmark.
"""

from vos.evaluation.boundary import TOLERANCE, boundary_accuracy, boundary_of, tolerance_in_pixels
from vos.evaluation.dataset import FaultsError, evaluate
from vos.evaluation.davis import DavisTree
from vos.evaluation.protocol import PROTOCOLS, Protocol, protocol_named
from vos.evaluation.region import region_similarity
from vos.evaluation.scores import Scores
from vos.evaluation.segmentation import HungarianScorer, SemanticScorer
from vos.evaluation.sequence import ObjectScores, SequenceScorer, SequenceScores, score_sequence
from vos.evaluation.statistics import Statistics, mean_of, statistics

__all__ = [
    "region_similarity",
    "boundary_accuracy",
    "boundary_of",
    "TOLERANCE",
    "tolerance_in_pixels",
    "Statistics",
    "statistics",
    "mean_of",
    "PROTOCOLS",
    "Protocol",
    "protocol_named",
    "SequenceScorer",
    "ObjectScores",
    "SequenceScores",
    "score_sequence",
    "DavisTree",
    "evaluate",
    "Scores",
    "FaultsError",
    "HungarianScorer",
    "SemanticScorer",
]

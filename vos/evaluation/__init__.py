"""Scores of segmentations: J, F and their statistics, by the rules of the benchmarks; public API.

Light to import: numpy alone. Scores are in [0, 1]; reports show them as printed by each benchmark.
"""

from vos.evaluation.datasets.davis_layout import DavisTree
from vos.evaluation.datasets.faults import FaultsError
from vos.evaluation.datasets.mask_folders import evaluate
from vos.evaluation.images.segmentation_scores import HungarianScorer, SemanticScorer
from vos.evaluation.metrics.boundary_accuracy import TOLERANCE, boundary_accuracy, boundary_of, tolerance_in_pixels
from vos.evaluation.metrics.boundary_iou import boundary_iou
from vos.evaluation.metrics.region_similarity import region_similarity
from vos.evaluation.metrics.statistics import Statistics, mean_of, statistics
from vos.evaluation.video.object_scores import ObjectScores, SequenceScores
from vos.evaluation.video.protocol import PROTOCOLS, Protocol, protocol_named
from vos.evaluation.video.scores import Scores
from vos.evaluation.video.sequence_scores import SequenceScorer, score_sequence

__all__ = [
    "region_similarity",
    "boundary_accuracy",
    "boundary_of",
    "boundary_iou",
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

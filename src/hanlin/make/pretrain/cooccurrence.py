"""First embeddings from the corpus' own statistics: which tokens stand near which.

Levy & Goldberg 2014, https://papers.nips.cc/paper/5477: word2vec's vectors factorise the matrix of pointwise mutual
information. So count neighbours, take the positive part of

    PMI(x, y) = log( p(x, y) / (p(x) · p(y)^0.75) )

and factorise it to the model's width: E = U·√S. A few seconds of counting replace the first hundred or more steps of a
short run, in which a model learns little else than which tokens are alike. Where the run is long, nothing is lost.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch

NEIGHBOURS: Sequence[tuple[int, float]] = ((1, 1.0), (2, 0.5))
"""(distance, weight) of the pairs that are counted, in both directions."""
SMOOTHING = 0.75
POWER_ITERATIONS = 2


def cooccurrence_embeddings(
    shards: Sequence[np.ndarray], vocab_size: int, width: int, std: float, seed: int
) -> torch.Tensor:
    """Embeddings (V, C) in float32 with mean 0 and standard deviation `std`, in a random rotation.

    Tokens that never occur get zeros but for the rotation's mean. Raises ValueError when width exceeds the vocabulary.
    """
    if width > vocab_size:
        raise ValueError(f"width {width} is larger than the vocabulary {vocab_size}")
    random = torch.Generator().manual_seed(seed)
    ppmi_VV = positive_pmi(*count_pairs(shards, vocab_size), vocab_size)
    vectors_VC, strengths_C = leading_factors(ppmi_VV, width, random)
    rotation_CC = torch.linalg.qr(torch.randn(width, width, generator=random)).Q
    embeddings_VC = (vectors_VC * strengths_C.sqrt()) @ rotation_CC
    embeddings_VC -= embeddings_VC.mean(0)
    return embeddings_VC * (std / embeddings_VC.std().clamp(min=1e-12))


def count_pairs(shards: Sequence[np.ndarray], vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """(codes, weights): code x·V + y for each pair that occurs, ascending, and its weighted count."""
    codes: np.ndarray = np.empty(0, np.int64)
    weights: np.ndarray = np.empty(0, np.float64)
    for shard in shards:
        ids = np.asarray(shard, dtype=np.int64)
        for distance, weight in NEIGHBOURS:
            new, counts = np.unique(ids[:-distance] * vocab_size + ids[distance:], return_counts=True)
            codes, place = np.unique(np.concatenate([codes, new]), return_inverse=True)
            weights = np.bincount(place, np.concatenate([weights, counts * weight]), len(codes))
    return codes, weights


def positive_pmi(codes: np.ndarray, weights: np.ndarray, vocab_size: int) -> torch.Tensor:
    """The symmetric matrix max(0, PMI), sparse (V, V)."""
    rows = np.concatenate([codes // vocab_size, codes % vocab_size])
    columns = np.concatenate([codes % vocab_size, codes // vocab_size])
    counts = _sparse(np.stack([rows, columns]), np.concatenate([weights, weights]), vocab_size)
    x, y = counts.indices()
    both = counts.values()
    each_V = torch.zeros(vocab_size, dtype=both.dtype).index_add_(0, x, both)
    context_V = each_V**SMOOTHING
    pmi = torch.log(both / both.sum()) - torch.log(each_V[x] / each_V.sum()) - torch.log(context_V[y] / context_V.sum())
    kept = pmi > 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return _sparse(torch.stack([x[kept], y[kept]]), pmi[kept].float(), vocab_size).to_sparse_csr()


def _sparse(places_2N, values_N, vocab_size: int) -> torch.Tensor:
    return torch.sparse_coo_tensor(places_2N, values_N, (vocab_size, vocab_size), check_invariants=True).coalesce()


def leading_factors(matrix_VV: torch.Tensor, rank: int, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Leading singular vectors (V, rank) and values (rank) of a nearly symmetric matrix. Halko et al. 2009,
    https://arxiv.org/abs/0909.4061: project onto the range of a few power iterations, decompose the small matrix."""
    basis_VR = torch.randn(matrix_VV.shape[0], rank, generator=random)
    for _ in range(POWER_ITERATIONS + 1):
        basis_VR = torch.linalg.qr(matrix_VV @ basis_VR).Q
    small_RR = basis_VR.mT @ (matrix_VV @ basis_VR)
    values_R, vectors_RR = torch.linalg.eigh((small_RR + small_RR.mT) / 2)
    order = values_R.abs().argsort(descending=True)
    return basis_VR @ vectors_RR[:, order], values_R.abs()[order]

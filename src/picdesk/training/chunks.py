"""Large batches on small memory: a batch goes through a trunk in chunks, whose activations are made again in the backward pass.

A contrastive loss needs all embeddings of a batch at once, so summing the gradients of small batches trains something else. Gao
et al. 2021 (GradCache, arXiv 2101.06983) get the exact gradient: embed without keeping activations, take the gradient at the
embeddings, then run each chunk again, with the same random numbers, and push that gradient through it. Checkpointing each chunk
as a whole is the same two passes, and leaves the rest (mixed precision, distributed training) as it is.
"""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

from picdesk.backbones.two_tower import TwoTower
from picdesk.interfaces import Modality
from picdesk.training.inputs import Inputs, embed_inputs, split_inputs


def embed_in_chunks(backbone: TwoTower, modality: Modality, inputs: Inputs, chunk: int) -> torch.Tensor:
    """Embeddings [n, dim] of length 1, with gradients; at most `chunk` items' activations are in memory (0: all).

    Features in memory go through their head in one piece: a head's activations are small.
    """
    if not chunk or isinstance(inputs, torch.Tensor):
        return embed_inputs(backbone, modality, inputs)
    parts = [
        checkpoint(embed_inputs, backbone, modality, part, use_reentrant=False, preserve_rng_state=True)
        for part in split_inputs(inputs, chunk)
    ]
    return torch.cat(parts)

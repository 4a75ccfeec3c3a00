"""Which of several processes that train together this one is."""

import os


def is_first_rank() -> bool:
    """Whether this process is to speak and to write, told before there is a trainer."""
    ranks = [os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")]
    return all(rank == "0" for rank in ranks)

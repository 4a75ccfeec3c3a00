"""The text tower of open_clip models, written down by a tracer for other engines."""

import open_clip
import torch

from picdesk.backbones.clip_text import TextTrunk
from picdesk.embedding.converted import Called, trace


def clip_text() -> TextTrunk:
    """A small text tower of open_clip."""
    torch.manual_seed(0)
    vision = open_clip.CLIPVisionCfg(layers=1, width=16, head_width=16, image_size=8, patch_size=8)
    text = open_clip.CLIPTextCfg(context_length=20, vocab_size=50, width=16, heads=2, layers=2)
    clip = open_clip.CLIP(8, vision, text).eval()
    clip.text_projection = None
    return TextTrunk(clip).eval()


def words(lengths: list[int]) -> torch.Tensor:
    """Token ids that end with the highest, then nothing."""
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.arange(1, length + 1)
        ids[row, length - 1] = 49
    return ids


def test_clips_text_tower_takes_any_length_and_number_once_traced() -> None:
    trunk = clip_text()
    traced = trace(Called(trunk, ("text",)), [words([4, 6])])
    for lengths in ([6, 3], [9], [3, 12, 7]):
        with torch.inference_mode():
            torch.testing.assert_close(traced(words(lengths)), trunk(words(lengths)), rtol=1e-4, atol=1e-5)

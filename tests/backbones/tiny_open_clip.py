"""open_clip models with random weights whose text towers come from transformers, or whose kind is CoCa, as published ones lie."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch
import transformers as hf
from safetensors.torch import save_file

from tests.backbones.tiny_models import SMALL, bert_tokenizer

VISION = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 4, "layers": 2}
PAD = {"pad_token_id": 0, "max_position_embeddings": 80}
M2M = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 48}
MT5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 4}
TEXT_TOWERS: dict[str, Callable[[int], Any]] = {
    "roberta": lambda words: hf.RobertaConfig(**SMALL, **PAD, vocab_size=words),
    "xlm-roberta": lambda words: hf.XLMRobertaConfig(**SMALL, **PAD, vocab_size=words),
    "bert": lambda words: hf.BertConfig(**SMALL, **PAD, vocab_size=words),
    "mt5": lambda words: hf.MT5Config(**MT5, pad_token_id=0, vocab_size=words),
    "m2m_100": lambda words: hf.M2M100Config(**M2M, **PAD, vocab_size=words),
}
"""Every type of text tower that open_clip takes from transformers (its `hf_configs.arch_dict`), small, by number of words."""
CAPTIONS = {"context_length": 76, "width": 16, "heads": 4, "layers": 1, "vocab_size": 49408}
COCA_VISION = VISION | {"attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True}


def of_transformers(kind: str, folder: Path) -> dict[str, Any]:
    """A text tower's part of the architecture; its config and tokenizer are written to `folder`."""
    words = bert_tokenizer()
    words.save_pretrained(folder)
    TEXT_TOWERS[kind](len(words)).save_pretrained(folder)
    pooled = {"m2m_100": "cls_pooler", "bert": "cls_pooler"}.get(kind, "mean_pooler")
    names = {"hf_model_name": str(folder), "hf_tokenizer_name": str(folder)}
    return names | {"hf_proj_type": "mlp", "hf_pooler_type": pooled, "context_length": 77}


def timm_tower(name: str, pool: str, size: int = 64) -> dict[str, Any]:
    """A picture tower's part of the architecture."""
    tower = {"timm_model_name": name, "timm_model_pretrained": False, "timm_pool": pool, "timm_proj": "linear"}
    return tower | {"image_size": size}


def architecture(kind: str, folder: Path) -> dict[str, Any]:
    """What `open_clip_config.json` says of a model of the kind."""
    whole: dict[str, Any] = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT, "custom_text": True}
    coca = {"vision_cfg": COCA_VISION, "multimodal_cfg": CAPTIONS}
    if kind in TEXT_TOWERS:
        return whole | {"text_cfg": of_transformers(kind, folder)}
    if kind == "coca":
        text = TEXT | {"context_length": 76, "embed_cls": True, "output_tokens": True}
        return whole | coca | {"text_cfg": text}
    if kind == "convnext":
        return whole | {"vision_cfg": timm_tower("test_convnext", "")}
    return whole | {"text_cfg": TEXT | {"pool_type": "last", "no_causal_mask": True}}  # CLIPA


KINDS = (*TEXT_TOWERS, "coca", "convnext", "clipa")


def publish(kind: str, folder: Path, seed: int = 3) -> Path:
    """Write a small model as a folder that `backbone.model` takes."""
    folder.mkdir(parents=True, exist_ok=True)
    cfg = architecture(kind, folder)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": cfg, "preprocess_cfg": {}}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.create_model(
            f"local-dir:{folder}", load_weights=False, pretrained_text=False, pretrained_image=False
        )
    weights = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder

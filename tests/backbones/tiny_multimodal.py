"""Multimodal embedding models with random weights, in the form in which sentence-transformers publishes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from tests.backbones.tiny_models import SMALL, letters, save

PROMPTS = {"query": "find: ", "document": "shown: "}
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
)
QWEN_WORDS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def naflex(folder: Path) -> None:
    """SigLIP 2 that takes pictures in their own shape, as at most 256 patches of 16 pixels."""
    tokens = {"model_max_length": 64, "padding_side": "right", "model_input_names": ["input_ids"]}
    tokenizer = hf.Siglip2Tokenizer(vocab=letters("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"), merges=[], **tokens)
    text = SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "projection_size": 32}
    vision = SMALL | {"patch_size": 16, "num_patches": 16}
    pictures = hf.Siglip2ImageProcessor()
    model = hf.Siglip2Model(hf.Siglip2Config(text_config=text, vision_config=vision))
    save(folder, model, hf.Siglip2Processor(pictures, tokenizer))


def qwen_parts() -> tuple[dict[str, Any], Any]:
    """The configs of a small Qwen3-VL, and its processor: a chat template, and pictures as a number of patches of their own."""
    from tokenizers.pre_tokenizers import ByteLevel

    words = ["<|endoftext|>", *QWEN_WORDS, *sorted(ByteLevel.alphabet())]
    tokenizer = hf.Qwen2Tokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], padding_side="left")
    tokenizer.add_special_tokens({"additional_special_tokens": list(QWEN_WORDS)})
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in QWEN_WORDS}
    text = SMALL | {"vocab_size": len(tokenizer), "num_key_value_heads": 2, "head_dim": 8}
    text["rope_parameters"] = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4, "patch_size": 8}
    vision |= {"out_hidden_size": 32, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
    marks = {f"{name}_token_id": ids[f"<|{name}|>"] for name in ("vision_start", "vision_end")}
    marks |= {"image_token_id": ids["<|image_pad|>"], "video_token_id": ids["<|video_pad|>"]}
    sizes = {"size": {"shortest_edge": 16 * 16, "longest_edge": 64 * 64}, "patch_size": 8, "merge_size": 2}
    pictures = hf.Qwen2VLImageProcessor(**sizes)
    videos = hf.Qwen3VLVideoProcessor(patch_size=8)
    processor = hf.Qwen3VLProcessor(pictures, tokenizer, videos, chat_template=TEMPLATE)
    return {"text_config": text, "vision_config": vision, **marks}, processor


def qwen3_vl(folder: Path) -> None:
    """Qwen3-VL-Embedding's form: a chat template, the last token's state, Matryoshka sizes, instructions in front."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    parts, processor = qwen_parts()
    save(folder / "plain", hf.Qwen3VLModel(hf.Qwen3VLConfig(**parts)), processor)
    trunk = Transformer(str(folder / "plain"))
    pooling = Pooling(trunk.get_embedding_dimension(), "lasttoken")
    model = SentenceTransformer(modules=[trunk, pooling, Normalize()], device="cpu", prompts=PROMPTS)
    model.save(str(folder))


def qwen3_vl_reranker(folder: Path) -> None:
    """Qwen3-VL-Reranker's form: the last token's logit of one word, less that of another."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

    parts, processor = qwen_parts()
    model = hf.Qwen3VLForConditionalGeneration(hf.Qwen3VLConfig(**parts))
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.2)
    save(folder / "plain", model, processor)
    trunk = Transformer(str(folder / "plain"), transformer_task="any-to-any")
    CrossEncoder(modules=[trunk, LogitScore(true_token_id=9, false_token_id=11)], device="cpu").save(str(folder))


def embedding_gemma2(folder: Path) -> None:
    """EmbeddingGemma 2's form: text and pictures through one tower, the mean of its states, a projection behind it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    marks = {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"}
    words = letters("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *marks.values(), "<|video|>")
    tokenizer = hf.GemmaTokenizer(vocab=words, merges=[], extra_special_tokens=marks, model_max_length=512)
    ids = {f"{name.removesuffix('_token')}_token_id": words[word] for name, word in marks.items()}
    text = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "global_head_dim": 8}
    text |= {"hidden_size_per_layer_input": 16, "embedding_dim": 24, "sliding_window_pattern": 2}
    vision = SMALL | {"num_key_value_heads": 4, "head_dim": 8, "patch_size": 8, "position_embedding_size": 64}
    config = hf.EmbeddingGemma2Config(
        text_config=text,
        vision_config=vision | {"model_type": "gemma4_vision"},
        **ids,
        video_token_id=words["<|video|>"],
    )
    processor = hf.EmbeddingGemma2Processor(
        hf.Gemma4AudioFeatureExtractor(),
        hf.Gemma4ImageProcessor(patch_size=8, max_soft_tokens=70),
        tokenizer,
        hf.EmbeddingGemma2VideoProcessor(patch_size=8),
    )
    save(folder / "plain", hf.EmbeddingGemma2Model(config), processor)
    trunk = Transformer(str(folder / "plain"))
    pooling = Pooling(trunk.get_embedding_dimension(), "mean")
    model = SentenceTransformer(modules=[trunk, pooling, Normalize()], device="cpu", prompts=PROMPTS)
    model.save(str(folder))


def clip_with_prompts(folder: Path) -> None:
    """CLIP's towers with prompts for queries and documents, saved by the library."""
    from sentence_transformers import SentenceTransformer

    from tests.backbones.tiny_models import clip

    clip(folder / "plain")
    SentenceTransformer(str(folder / "plain"), device="cpu", prompts=PROMPTS).save(str(folder))


FOLDERS: dict[str, Callable[[Path], None]] = {
    "naflex": naflex,
    "qwen3_vl": qwen3_vl,
    "embedding_gemma2": embedding_gemma2,
    "clip_with_prompts": clip_with_prompts,
}
RERANKERS: dict[str, Callable[[Path], None]] = {"qwen3_vl_reranker": qwen3_vl_reranker}


def make_folder(kind: str, folder: Path, seed: int = 3) -> Path:
    """Save a small model of the kind."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        (FOLDERS | RERANKERS)[kind](folder)
    return folder

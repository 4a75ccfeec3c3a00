"""Dual encoders of the transformers library with random weights, saved in the form in which real ones are published."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = SMALL | {"image_size": 32, "patch_size": 8}
SIGLIP_TOKENS = {"model_max_length": 64, "padding_side": "right", "model_input_names": ["input_ids"]}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def clip(folder: Path) -> None:
    """CLIP: QuickGELU, 77 tokens, shorter side and centre crop."""
    vocab = [*LETTERS, *(letter + "</w>" for letter in LETTERS), "do", "dog</w>"]
    ids = {token: i for i, token in enumerate([*vocab, "<|startoftext|>", "<|endoftext|>"])}
    tokenizer = hf.CLIPTokenizer(vocab=ids, merges=[("d", "o"), ("do", "g</w>")], model_max_length=77)
    ends = {"bos_token_id": ids["<|startoftext|>"], "eos_token_id": ids["<|endoftext|>"]}
    config = hf.CLIPConfig(
        text_config=SMALL | ends | {"vocab_size": len(ids), "pad_token_id": ids["<|endoftext|>"]},
        vision_config=VISION,
        projection_dim=24,
    )
    pictures = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    save(folder, hf.CLIPModel(config), hf.CLIPProcessor(pictures, tokenizer))


def siglip2(folder: Path) -> None:
    """SigLIP 2 of fixed resolution: SigLIP's towers with the lower-casing Gemma tokenizer; a bias beside the scale."""
    tokenizer = hf.Siglip2Tokenizer(
        vocab=letters("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"), merges=[], **SIGLIP_TOKENS
    )
    save(folder, siglip_model(len(tokenizer)), hf.SiglipProcessor(siglip_pictures(), tokenizer))


def siglip_model(words: int) -> Any:
    """SigLIP's towers, whose bias and scale are not the defaults."""
    text = SMALL | {"vocab_size": words, "max_position_embeddings": 64, "projection_size": 32}
    config = hf.SiglipConfig(text_config=text, vision_config=VISION)
    model = hf.SiglipModel(config)
    model.logit_scale.data.fill_(4.5)
    model.logit_bias.data.fill_(-12.5)
    return model


def siglip_pictures() -> Any:
    """Squashed to a square, mean and std of a half."""
    return hf.SiglipImageProcessor(size={"height": 32, "width": 32}, resample=3)


def letters(*special: str) -> dict[str, int]:
    """A vocabulary of the special tokens and the small letters, alone and after a space."""
    tokens = [*special, *LETTERS, "▁", *(f"<0x{i:02X}>" for i in range(256))]
    return {token: i for i, token in enumerate(tokens)}


def bert_tokenizer() -> Any:
    """A lower-casing word-piece tokenizer."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *("##" + letter for letter in LETTERS), "dog"]
    return hf.BertTokenizer(vocab={token: i for i, token in enumerate(tokens)}, do_lower_case=True)


def align(folder: Path) -> None:
    """ALIGN: EfficientNet and BERT, a temperature instead of a scale, an offset instead of mean and std."""
    tokenizer = bert_tokenizer()
    text = SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 64}
    vision = {"image_size": 32, "width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 32}
    config = hf.AlignConfig(text_config=text, vision_config=vision, projection_dim=32, temperature_init_value=0.05)
    pictures = hf.EfficientNetImageProcessor(
        size={"height": 40, "width": 40},
        crop_size={"height": 32, "width": 32},
        do_center_crop=True,
        rescale_factor=1 / 127.5,
        rescale_offset=True,
        do_normalize=False,
        include_top=False,
    )
    model = hf.AlignModel(config)
    for weight in model.vision_model.parameters():
        if weight.ndim == 4:
            torch.nn.init.kaiming_normal_(weight)  # the library's own draw lets the signal die in so small a tower
    save(folder, model, hf.AlignProcessor(pictures, tokenizer))


def blip(folder: Path) -> None:
    """BLIP's contrastive towers."""
    tokenizer = bert_tokenizer()
    text = SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "encoder_hidden_size": 32}
    text |= {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    config = hf.BlipConfig(text_config=text, vision_config=VISION, projection_dim=24)
    pictures = hf.BlipImageProcessor(size={"height": 32, "width": 32})
    save(folder, hf.BlipModel(config), hf.BlipProcessor(pictures, tokenizer))


def save(folder: Path, model: Any, processor: Any) -> None:
    """Write the model as published ones lie on disk."""
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)


def siglip(folder: Path) -> None:
    """SigLIP with its own sentencepiece tokenizer; needs the package `sentencepiece`."""
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a dog runs on the beach", "two children in tall grass", *LETTERS] * 30),
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    folder.mkdir(exist_ok=True)
    (folder / "spiece.model").write_bytes(model.getvalue())
    tokenizer = hf.SiglipTokenizer(str(folder / "spiece.model"), **SIGLIP_TOKENS)
    save(folder, siglip_model(len(tokenizer)), hf.SiglipProcessor(siglip_pictures(), tokenizer))


def tipsv2(folder: Path) -> None:
    """TIPSv2: towers that end without a projection; mean of the text's states, the picture's first class token."""
    tokenizer = hf.Tipsv2Tokenizer(vocab=letters("<pad>", "<unk>"), merges=[])
    text = SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 64}
    vision = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    model = hf.Tipsv2Model(hf.Tipsv2Config(text_config=text, vision_config=vision))
    pictures = hf.Tipsv2ImageProcessor(size={"height": 32, "width": 32})
    save(folder, model, hf.Tipsv2Processor(pictures, tokenizer))


def flava(folder: Path) -> None:
    """FLAVA: projections of every place of both towers, of which the first one's is compared."""
    tokenizer = bert_tokenizer()
    text = SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 64}
    config = hf.FlavaConfig(text_config=text, image_config=VISION, multimodal_config=SMALL, projection_dim=24)
    sizes = {"size": {"height": 32, "width": 32}, "crop_size": {"height": 32, "width": 32}}
    save(folder, hf.FlavaModel(config), hf.FlavaProcessor(hf.FlavaImageProcessor(**sizes), tokenizer))


def metaclip2(folder: Path) -> None:
    """MetaCLIP 2: CLIP's towers with a multilingual tokenizer."""
    clip(folder / "plain")
    tokenizer = hf.AutoTokenizer.from_pretrained(folder / "plain")
    text = SMALL | {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    model = hf.MetaClip2Model(hf.MetaClip2Config(text_config=text, vision_config=VISION, projection_dim=24))
    pictures = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    save(folder, model, hf.CLIPProcessor(pictures, tokenizer))


def bge_vl(folder: Path) -> None:
    """BGE-VL: CLIP's classes under a config that also names code of its own, which is not needed and never run."""
    import json

    clip(folder)
    path = folder / "config.json"
    named = json.loads(path.read_text()) | {"auto_map": {"AutoModel": "modeling_mmret.CLIPModel"}}
    path.write_text(json.dumps(named))


MAKERS: dict[str, Callable[[Path], None]] = {
    "clip": clip,
    "siglip": siglip,
    "siglip2": siglip2,
    "align": align,
    "blip": blip,
    "tipsv2": tipsv2,
    "flava": flava,
    "metaclip2": metaclip2,
    "bge_vl": bge_vl,
}


def make(kind: str, folder: Path, seed: int = 3) -> Path:
    """Save a small model of the kind."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        MAKERS[kind](folder)
    return folder

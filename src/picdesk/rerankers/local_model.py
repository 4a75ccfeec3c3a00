"""A language model of the transformers library on this machine: text only (Llama class) or with pictures (Qwen2-VL class)."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from picdesk.errors import ConfigError, UserError
from picdesk.files import digest_of, file_digest
from picdesk.hub import WEIGHTS, fits, folder_of, small_files
from picdesk.language_models import Answer, Question, check_sampling
from picdesk.needs import Need, model_need
from picdesk.parts import config_part
from picdesk.rasters import open_raster
from picdesk.weights import NO_CODE, from_folder, why

FILES = "config.json, the tokenizer's files and model*.safetensors"
PIECE = 1 << 20


@config_part
class LocalModel:
    """`model` is a local folder or a hub id; it answers through its own chat template, `max_tokens` new tokens at most.

    `temperature` 0 takes the likeliest token each time; above 0 it draws, from a seed that is mixed out of `seed` and the
    question, so that the same question gets the same answer in any order. One question at a time. `dtype` is auto (as the
    weights are), float32 or bfloat16.
    """

    concurrency = 1

    def __init__(
        self,
        answers: str,
        model: str,
        temperature: float = 0.0,
        top_p: float = 1.0,
        max_tokens: int = 512,
        seed: int = 0,
        dtype: str = "auto",
        device: str = "cpu",
    ) -> None:
        if dtype not in ("auto", "float32", "bfloat16"):
            raise ConfigError(f"language_model.dtype={dtype}: choose one of auto, float32, bfloat16")
        check_sampling(temperature, top_p)
        if max_tokens < 1:
            raise ConfigError(f"language_model.max_tokens={max_tokens}: at least 1 is needed")
        self.answers, self.name, self.device, self.dtype = answers, model, device, dtype
        self.temperature, self.top_p, self.max_tokens, self.seed = temperature, top_p, max_tokens, seed
        self.folder = folder_of(model, "language_model.model", pick_files, FILES)
        self._one = threading.Lock()

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """The folder or hub id."""
        return [model_need(values["model"], f"{key}.model", pick_files, FILES)]

    def fingerprint(self) -> str:
        """The model's small files, its weights (size, beginning and end of each file) and the generation settings."""
        settings = [self.temperature, self.top_p, self.max_tokens, self.seed, self.dtype]
        return digest_of(
            ["local 2", self._files, settings]
        )  # 2: a template's text gets no special tokens of the tokenizer

    @cached_property
    def _files(self) -> list[str]:
        paths = sorted(path for path in self.folder.iterdir() if path.is_file())
        return [f"{p.name}:{ends(p) if fits(p.name, WEIGHTS) else file_digest(p)}" for p in paths]

    @cached_property
    def _parts(self) -> tuple[Any, Any, bool]:
        return load(self.folder, self.name, self.dtype, self.device)

    def ask(self, question: Question) -> Answer:
        """The model's answer. Raises `ConfigError` for a picture shown to a model without eyes."""
        with self._one:
            model, processor, sees = self._parts
            if question.pictures and not sees:
                raise ConfigError(
                    f"language_model.model={self.name} reads texts only; a judge of pictures needs a Qwen2-VL class"
                )
            inputs = self._inputs(processor, question, sees).to(self.device)
            drawn = hashlib.sha256(f"{self.seed}:{question.system}:{question.text}".encode()).digest()[:7]
            sampling: dict[str, Any] = {"do_sample": False}
            if self.temperature > 0:
                sampling = {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p}
            with torch.inference_mode(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(int.from_bytes(drawn, "big"))
                out = model.generate(**inputs, max_new_tokens=self.max_tokens, **sampling)
            read = int(inputs["input_ids"].shape[1])
            said = out[0][read:]
            words = getattr(processor, "tokenizer", processor)
            return Answer(words.decode(said, skip_special_tokens=True).strip(), read, len(said))

    def _inputs(self, processor: Any, question: Question, sees: bool) -> Any:
        words = getattr(processor, "tokenizer", processor)
        content: Any = question.text
        if sees:
            content = [*({"type": "image"} for _ in question.pictures), {"type": "text", "text": question.text}]
        messages = [{"role": "user", "content": content}]
        if question.system:
            told: Any = [{"type": "text", "text": question.system}] if sees else question.system
            messages.insert(0, {"role": "system", "content": told})
        template = getattr(processor, "chat_template", None) or getattr(words, "chat_template", None)
        if template:
            text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        else:
            text = f"{question.system}\n\n{question.text}\n\n".lstrip()
        special = not template  # a template has written them: a second token of the beginning would change the answers
        if not sees:
            return words(text, return_tensors="pt", add_special_tokens=special)
        pictures = [open_raster(data).convert("RGB") for data in question.pictures] or None
        return processor(text=[text], images=pictures, return_tensors="pt", add_special_tokens=special)


def load(folder: Path, name: str, dtype: str, device: str) -> tuple[Any, Any, bool]:
    """Model, processor (or tokenizer), whether it takes pictures. Raises `UserError` for a folder that is no language model."""
    import transformers
    from transformers.utils import logging as chatter

    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    kind = "auto" if dtype == "auto" else getattr(torch, dtype)
    try:
        config = transformers.AutoConfig.from_pretrained(str(folder), **NO_CODE)
        sees = hasattr(config, "vision_config")
        family = transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM
        reader = transformers.AutoProcessor if sees else transformers.AutoTokenizer
        options: dict[str, Any] = {"local_files_only": True, "dtype": kind, "weights_only": True}
        model = from_folder(family, folder, f"language_model.model={name}", **options)
        processor = reader.from_pretrained(str(folder), **NO_CODE)
    except UserError:
        raise
    except Exception as error:  # the library raises whatever a broken file leads to
        reason = why(error, most=160)
        raise UserError(f"language_model.model={name} could not be loaded ({reason}); wanted: {FILES}") from error
    return model.eval().requires_grad_(False).to(device), processor, sees


def ends(path: Path) -> str:
    """Size, and digest over the first and last piece, of a file too large to be read for its name's sake."""
    with path.open("rb") as stream:
        digest = hashlib.sha256(stream.read(PIECE))
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(size - PIECE, 0))
        digest.update(stream.read(PIECE))
    return f"{size}:{digest.hexdigest()}"


def pick_files(names: Iterable[str]) -> list[str]:
    """Of a repository's files: configs, tokenizer and safetensors."""
    found = list(names)
    weights = [name for name in found if name.endswith(".safetensors") and "/" not in name]
    return [*small_files(found), *weights, *(n for n in found if n.endswith(".jinja"))] if weights else []

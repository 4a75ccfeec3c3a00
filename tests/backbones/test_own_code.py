"""A dual encoder that brings its own code: refused until it is allowed, then equal to its documented use."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import save_file

from picdesk.backbones.own_code import OwnCode
from picdesk.errors import ConfigError, UserError
from picdesk.hub import code_beyond
from picdesk.training.adaptation import Full, LockImage, Lora
from tests.backbones.tiny_models import bert_tokenizer

CODE = """
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature
import numpy as np


class PairConfig(PretrainedConfig):
    model_type = "tiny_pair"

    def __init__(self, width=16, words=64, **kwargs):
        super().__init__(**kwargs)
        self.width, self.words = width, words


class PairModel(PreTrainedModel):
    config_class = PairConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.words, config.width)
        self.patches = nn.Conv2d(3, config.width, 4, 4)
        self.logit_scale = nn.Parameter(torch.tensor(3.0))
        self.post_init()

    def _init_weights(self, module):
        pass

    def get_text_features(self, input_ids=None, attention_mask=None, **_):
        mask = attention_mask[..., None].float()
        return (self.words(input_ids) * mask).sum(1) / mask.sum(1)

    def get_image_features(self, pixel_values=None, **_):
        return self.patches(pixel_values).mean((2, 3))


class PairProcessor(BaseImageProcessor):
    model_input_names = ["pixel_values"]

    def __call__(self, images, return_tensors=None, **_):
        images = images if isinstance(images, list) else [images]
        pixels = [np.asarray(i.convert("RGB").resize((8, 8)), np.float32).transpose(2, 0, 1) / 127.5 - 1 for i in images]
        return BatchFeature({"pixel_values": np.stack(pixels)}, tensor_type=return_tensors)
"""
TEXTS = ["a dog runs", "two children in grass", "x"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The form in which such models are published: config with auto_map, code, weights, tokenizer, processor."""
    import transformers.dynamic_module_utils as dynamic

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    return publish(tmp_path / "tiny-pair")


def publish(made: Path, code: str = CODE) -> Path:
    """Write such a folder."""
    made.mkdir()
    (made / "modeling_pair.py").write_text(code)
    names = {"AutoConfig": "modeling_pair.PairConfig", "AutoModel": "modeling_pair.PairModel"}
    (made / "config.json").write_text(
        json.dumps({"model_type": "tiny_pair", "auto_map": names, "width": 16, "words": 64})
    )
    processor = {
        "auto_map": {"AutoImageProcessor": "modeling_pair.PairProcessor"},
        "image_processor_type": "PairProcessor",
    }
    (made / "preprocessor_config.json").write_text(json.dumps(processor))
    bert_tokenizer().save_pretrained(made)
    torch.manual_seed(0)
    weights = {"words.weight": torch.randn(64, 16), "patches.weight": torch.randn(16, 3, 4, 4)}
    save_file(weights | {"patches.bias": torch.randn(16), "logit_scale": torch.tensor(3.0)}, made / "model.safetensors")
    return made


def test_code_is_not_run_unless_it_is_allowed(folder: Path) -> None:
    (folder / "modeling_pair.py").write_text("raise SystemExit('the code ran')")
    with pytest.raises(ConfigError, match=r"runs code out of that folder.*backbone\.allow_code=true"):
        OwnCode(str(folder))


def test_embeddings_are_those_of_its_documented_use(folder: Path, no_sockets: list[str]) -> None:
    random = np.random.default_rng(0)
    pictures = [Image.fromarray(random.integers(0, 256, (20, 30, 3), dtype=np.uint8)) for _ in TEXTS]
    backbone = OwnCode(str(folder), allow_code=True).eval()
    assert no_sockets == []
    model = hf.AutoModel.from_pretrained(folder, trust_remote_code=True)
    processor = hf.AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
    tokens = hf.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        images = nn_normal(model.get_image_features(**processor(pictures, return_tensors="pt")))
        texts = nn_normal(model.get_text_features(**tokens))
        pixels = torch.from_numpy(np.stack([backbone.picture_to_pixels(picture) for picture in pictures]))
        ours = backbone.embed("image", backbone.image_trunk(backbone.normalise_pixels(pixels)))
        told = backbone.embed("text", backbone.text_trunk(**backbone.tokenize(TEXTS)))
        alone = [backbone.embed("text", backbone.text_trunk(**backbone.tokenize([text])))[0] for text in TEXTS]
    np.testing.assert_allclose(ours, images, atol=1e-5)
    np.testing.assert_allclose(told, texts, atol=1e-5)
    np.testing.assert_allclose(torch.stack(alone), texts, atol=1e-5)
    assert backbone.dim == 16
    assert float(backbone.logit_scale.detach()) == 3.0


def nn_normal(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.norm(dim=-1, keepdim=True)


def test_other_code_is_another_fingerprint(folder: Path) -> None:
    before = OwnCode(str(folder), allow_code=True).trunk_fingerprint("text")
    (folder / "modeling_pair.py").write_text(CODE + "\n# changed\n")
    assert OwnCode(str(folder), allow_code=True).trunk_fingerprint("text") != before


def test_code_of_another_repository_is_in_the_fingerprint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real Jina CLIP names code that lies in a repository of its own."""
    alone = OwnCode(str(folder), allow_code=True)
    assert code_beyond(folder, [alone.text_trunk.model]) == [], "fingerprints of folders with all their code stay"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for path in (folder / "config.json", folder / "preprocessor_config.json"):
        content = json.loads(path.read_text())
        content["auto_map"] = {key: f"lab/code--{value}" for key, value in content["auto_map"].items()}
        path.write_text(json.dumps(content))
    (folder / "modeling_pair.py").unlink()

    def publish_code(code: str, commit: str) -> OwnCode:
        snapshot = tmp_path / "hub" / "models--lab--code" / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (snapshot / "modeling_pair.py").write_text(code)
        (snapshot.parents[1] / "refs").mkdir(exist_ok=True)
        (snapshot.parents[1] / "refs" / "main").write_text(commit)
        return OwnCode(str(folder), allow_code=True)

    before = publish_code(CODE, "a" * 40)
    after = publish_code(CODE.replace("return (self.words", "return 2 + (self.words"), "b" * 40)
    with torch.inference_mode():
        rows = [one.text_trunk(**one.tokenize(["a dog"])) for one in (before, after)]
    torch.testing.assert_close(rows[1], rows[0] + 2)
    assert before.trunk_fingerprint("text") != after.trunk_fingerprint("text")
    kept = Path(str(sys.modules[type(after.text_trunk.model).__module__].__file__)).parent
    (kept / "for_others.py").write_text("ANOTHER_MODEL = 1")
    again = OwnCode(str(folder), allow_code=True).trunk_fingerprint("text")
    assert again == after.trunk_fingerprint("text"), "what the library keeps for other models is not on every machine"


def test_a_weight_too_few_is_refused(folder: Path) -> None:
    save_file({"words.weight": torch.randn(64, 16)}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"does not fit: \d+ missing keys, for example"):
        OwnCode(str(folder), allow_code=True)


def weights_of(trunk: torch.nn.Module) -> set[str]:
    return {name for name, _ in trunk.named_parameters()}


def test_each_tower_has_the_parts_that_its_features_come_from(folder: Path) -> None:
    backbone = OwnCode(str(folder), allow_code=True)
    assert weights_of(backbone.image_trunk) == {"model.patches.weight", "model.patches.bias"}
    assert weights_of(backbone.text_trunk) == {"model.words.weight"}
    assert not any(value.requires_grad for value in backbone.image_trunk.parameters())
    before = backbone.trunk_fingerprint("image")
    trained = LockImage(trunk_rate=0.1).prepare(backbone)
    assert trained.learning == ("text",)
    assert trained.rates == {"logit_scale": 1.0, "text_trunk.model.words.weight": 0.1}
    backbone.forget_fingerprints()
    assert backbone.trunk_fingerprint("image") == before


SHARED = {
    "a part of both": (
        CODE.replace("(input_ids) * mask)", "(input_ids) * mask + self.patches.bias)"),
        "model.patches.weight",
    ),
    "code that looks at the rest": (
        CODE.replace("mask = att", "device = self.patches.weight.device; mask = att"),
        "model.patches.weight",
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_towers_that_share_weights_are_adapted_together_or_not_at_all(folder: Path, name: str) -> None:
    code, word = SHARED[name]
    assert code != CODE
    (folder / "modeling_pair.py").write_text(code)
    backbone = OwnCode(str(folder), allow_code=True)
    for adaptation in (LockImage(), Full(towers="text"), Lora(), Lora(towers="image")):
        with pytest.raises(ConfigError, match=rf"adaptation={adaptation.name}: .* share weights .*{word}"):
            adaptation.check(backbone)
    trained = Full(trunk_rate=0.1).prepare(backbone)
    assert all(rate == 0.1 for name, rate in trained.rates.items() if "trunk" in name and "logit" not in name)


def test_a_model_of_another_form_is_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    """FG-CLIP 2: its class is an AutoModelForCausalLM, and its pictures are patches of many sizes."""
    config = json.loads((folder / "config.json").read_text())
    named = {"AutoConfig": "modeling_pair.PairConfig", "AutoModelForCausalLM": "modeling_pair.PairModel"}
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": named}))
    with pytest.raises(
        ConfigError, match=r"no AutoModel \(its auto_map has AutoConfig, AutoModelForCausalLM alone\); FG-CLIP"
    ):
        OwnCode(str(folder), allow_code=True)
    patches = '"spatial_shapes": np.array([[2, 2]] * len(pixels)), "pixel_values": np.stack(pixels)}'
    other = publish(tmp_path / "of-patches", CODE.replace('"pixel_values": np.stack(pixels)}', patches))
    with pytest.raises(
        ConfigError, match=r"gives spatial_shapes \(1, 2\), pixel_values .* such as FG-CLIP 2 are not supported"
    ):
        OwnCode(str(other), allow_code=True)

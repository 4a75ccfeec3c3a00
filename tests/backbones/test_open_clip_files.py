"""Where open_clip models come from: names with tags and files, published folders, hub ids; SigLIP and timm towers."""

import copy
import json
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import transformers as hf
from hydra import compose, initialize_config_dir
from open_clip.push_to_hf_hub import save_for_hf
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models import eva, fastvit, register_model
from transformers import dynamic_module_utils
from transformers.utils import hub

from picdesk.assembly import schema
from picdesk.assembly.build import build
from picdesk.backbones.open_clip import OpenClip
from picdesk.backbones.open_clip_files import find, recipe_of, weights_in
from picdesk.errors import ConfigError, MissingFileError, UserError
from tests.backbones import vocabulary_memory
from tests.backbones.tiny_models import SIGLIP_TOKENS, letters
from tests.conftest import PROJECT

vocabulary_memory.begin()

TEXTS = ["A dog runs.", "two children in tall grass, far away", "x"]
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 4, "layers": 2}
VISION = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32}
SIGLIP_TEXT = {
    "context_length": 64,
    "vocab_size": 400,
    "hf_tokenizer_name": "example-owner/never-published",
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "width": 64,
    "heads": 4,
    "layers": 2,
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6},
    "act_kwargs": {"approximate": "tanh"},
}


@register_model
def small_pe_core(pretrained: bool = False, **given: Any) -> Any:
    """PE-Core's picture tower: rotary places, a norm before the blocks, pooled by attention."""
    small = {"img_size": 48, "depth": 2, "embed_dim": 64, "num_heads": 2, "ref_feat_shape": (3, 3)}
    return eva.vit_pe_core_tiny_patch16_384(pretrained, **small, **given)


@register_model
def small_fastvit_mci4(pretrained: bool = False, **given: Any) -> Any:
    """MobileCLIP2-S4's picture tower: five stages of convolutions, attention in the last two."""
    return fastvit.fastvit_mci4(pretrained, layers=(1, 1, 1, 1, 1), embed_dims=(8, 16, 16, 32, 64), **given)


def timm_tower(name: str, pool: str, proj: str | None, size: int = 160) -> dict[str, Any]:
    return {
        "image_size": size,
        "timm_model_name": name,
        "timm_model_pretrained": False,
        "timm_pool": pool,
        "timm_proj": proj,
    }


MODELS: dict[str, dict[str, Any]] = {
    "clip": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT},
    "quick": {"embed_dim": 24, "quick_gelu": True, "vision_cfg": VISION, "text_cfg": TEXT},
    "siglip": {
        "embed_dim": 64,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": timm_tower("test_vit", "map", "none"),
        "text_cfg": SIGLIP_TEXT,
    },
    "mobileclip": {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": timm_tower("test_efficientnet", "avg", None),
        "text_cfg": TEXT | {"no_causal_mask": True},
    },
    "timm_linear": {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": timm_tower("test_vit", "token", "linear"),
        "text_cfg": TEXT,
    },
    "pe_core": {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": timm_tower("small_pe_core", "map", None, 48),
        "text_cfg": TEXT | {"context_length": 32},
    },
    "dfn": {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 42, "layers": 2, "width": 160, "head_width": 80, "patch_size": 14},
        "text_cfg": TEXT,
    },
    "mobileclip2_s4": {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": timm_tower("small_fastvit_mci4", "avg", None, 128) | {"timm_drop": 0.0, "timm_drop_path": 0.0},
        "text_cfg": TEXT | {"no_causal_mask": True},
    },
}
PREPROCESS: dict[str, dict[str, Any]] = {
    "siglip": {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"},
    "mobileclip": {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear", "resize_mode": "shortest"},
    "pe_core": {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "resize_mode": "squash"},
    "dfn": {"interpolation": "bicubic", "resize_mode": "squash"},
    "mobileclip2_s4": {"interpolation": "bilinear", "resize_mode": "shortest"},
}


def tokenizer() -> Any:
    return hf.Siglip2Tokenizer(vocab=letters("<pad>", "<eos>", "<bos>", "<unk>"), merges=[], **SIGLIP_TOKENS)


def publish(kind: str, folder: Path) -> Path:
    """Write a small model by the library's own function for publishing."""
    folder.mkdir(parents=True, exist_ok=True)
    cfg = MODELS[kind]
    (folder / "architecture.json").write_text(json.dumps(cfg))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        kind_of = open_clip.CustomTextCLIP if cfg.get("custom_text") else open_clip.CLIP
        model = kind_of(**{key: value for key, value in copy.deepcopy(cfg).items() if key != "custom_text"}).eval()
    words = tokenizer() if kind == "siglip" else None
    shown = {"size": cfg["vision_cfg"]["image_size"], "mode": "RGB", "fill_color": 0} | PREPROCESS.get(kind, {})
    open_clip.model.set_model_preprocess_cfg(model, PreprocessCfg(**shown).__dict__)
    if kind == "siglip":
        model.logit_scale.data.fill_(4.5)
        model.logit_bias.data.fill_(-12.5)
    save_for_hf(model, Saved(words), cfg, str(folder), safe_serialization=True)
    return folder


class Saved:
    """What the library's function wants of a tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def save_pretrained(self, folder: str) -> None:
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: publish(kind, tmp_path_factory.mktemp(kind)) for kind in MODELS}


@pytest.fixture
def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)) for size in [(60, 90, 3), (200, 60, 3)]]


def ours(backbone: OpenClip, pictures: list[Image.Image], texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = torch.from_numpy(np.stack([backbone.picture_to_pixels(picture) for picture in pictures]))
    with torch.inference_mode():
        images = backbone.embed("image", backbone.image_trunk(backbone.normalise_pixels(pixels)))
        return images, backbone.embed("text", backbone.text_trunk(**backbone.tokenize(texts)))


@pytest.mark.parametrize("kind", MODELS)
def test_a_published_folder_gives_the_librarys_embeddings(
    kind: str, folders: dict[str, Path], pictures: list[Image.Image], no_sockets: list[str]
) -> None:
    schema.register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        cfg = compose("evaluate", overrides=["backbone=open_clip", f"backbone.model={folders[kind]}"])
        backbone = build(cfg, "backbone")
    found = ours(backbone, pictures, TEXTS)
    assert no_sockets == []
    place = f"local-dir:{folders[kind]}"
    model = open_clip.create_model(place).eval()
    transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    words = open_clip.get_tokenizer(place)
    with torch.inference_mode():
        images = model.encode_image(torch.stack([transform(picture) for picture in pictures]), normalize=True)
        texts = model.encode_text(words(TEXTS), normalize=True)
    np.testing.assert_allclose(found[0], images, atol=1e-5)
    np.testing.assert_allclose(found[1], texts, atol=1e-5)
    assert abs(images @ images.T - torch.eye(2)).max() > 1e-4, "the pictures must differ"
    for i in range(2):
        one = ours(backbone, pictures[i : i + 1], TEXTS[i : i + 1])
        np.testing.assert_allclose(one[0][0], images[i], atol=1e-5)
        np.testing.assert_allclose(one[1][0], texts[i], atol=1e-5)
    for mine, published in PREPROCESS.get(kind, {}).items():
        assert list(np.atleast_1d(backbone._cfg[mine])) == list(np.atleast_1d(published))


def test_no_weight_is_what_memory_held(folders: dict[str, Path]) -> None:
    """None are drawn before a file brings them; here memory that nothing is put into holds NaN."""
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3).isnan().all()
        for kind, folder in folders.items():
            backbone = OpenClip(str(folder))
            assert not any(value.isnan().any() for value in (*backbone.parameters(), *backbone.buffers())), kind
    finally:
        torch.use_deterministic_algorithms(False)


def test_heads_are_lifted_where_there_is_a_last_linear_layer(folders: dict[str, Path]) -> None:
    kinds = {kind: OpenClip(str(folder)) for kind, folder in folders.items()}
    linear = {kind: isinstance(backbone.image_head, torch.nn.Linear) for kind, backbone in kinds.items()}
    lifted = {"clip", "quick", "timm_linear", "dfn"}
    assert linear == {kind: kind in lifted for kind in MODELS}
    assert all(isinstance(backbone.text_head, torch.nn.Linear) for backbone in kinds.values())
    for kind, backbone in kinds.items():
        size = backbone._cfg["size"]
        height, width = size if isinstance(size, tuple | list) else (size, size)
        features = backbone.image_trunk(torch.zeros(1, 3, height, width))
        assert features.shape[1] == backbone.trunk_dim("image"), kind


def test_siglip_keeps_scale_bias_and_cleaning(folders: dict[str, Path]) -> None:
    backbone = OpenClip(str(folders["siglip"]))
    assert (backbone.logit_scale.item(), backbone.logit_bias) == (4.5, -12.5)
    tokens = backbone.tokenize(["A DOG!", "a dog"])["text"]
    assert tokens.shape == (2, 64)
    assert torch.equal(tokens[0], tokens[1])


def test_a_folder_with_quickgelu_gets_it(folders: dict[str, Path]) -> None:
    for kind, name in (("quick", "QuickGELU"), ("clip", "GELU")):
        blocks = OpenClip(str(folders[kind])).image_trunk.transformer.resblocks  # type: ignore[union-attr]
        assert {type(block.mlp.gelu).__name__ for block in blocks} == {name}  # type: ignore[union-attr]


def test_the_fingerprint_covers_the_config_and_not_the_place(folders: dict[str, Path], tmp_path: Path) -> None:
    def change(kind: str, name: str, edit: Any) -> OpenClip:
        folder = Path(shutil.copytree(folders[kind], tmp_path / name))
        content = json.loads((folder / "open_clip_config.json").read_text())
        edit(content)
        (folder / "open_clip_config.json").write_text(json.dumps(content))
        return OpenClip(str(folder))

    before = OpenClip(str(folders["clip"]))
    same = change("clip", "same", lambda c: None)
    assert same.trunk_fingerprint("image") == before.trunk_fingerprint("image")
    assert same.trunk_fingerprint("text") == before.trunk_fingerprint("text")
    images = [
        change("clip", "a", lambda c: c["model_cfg"].update(quick_gelu=True)),
        change("clip", "b", lambda c: c["preprocess_cfg"].update(mean=[0.5] * 3)),
        change("clip", "c", lambda c: c["preprocess_cfg"].update(std=[0.5] * 3)),
        change("clip", "d", lambda c: c["preprocess_cfg"].update(interpolation="bilinear")),
        change("clip", "e", lambda c: c["preprocess_cfg"].update(resize_mode="squash")),
        change("clip", "f", lambda c: c["model_cfg"]["vision_cfg"].update(image_size=40)),
    ]
    digests = [before.trunk_fingerprint("image"), *(backbone.trunk_fingerprint("image") for backbone in images)]
    assert len(set(digests)) == 7
    text = change("clip", "g", lambda c: c["model_cfg"]["text_cfg"].update(tokenizer_kwargs={"clean": "canonicalize"}))
    assert text.trunk_fingerprint("text") != before.trunk_fingerprint("text")
    assert images[0].trunk_fingerprint("text") != before.trunk_fingerprint("text")
    siglip = publish("siglip", tmp_path / "siglip")
    once = OpenClip(str(siglip)).trunk_fingerprint("text")
    words = json.loads((siglip / "tokenizer.json").read_text())
    words["model"]["vocab"]["a"], words["model"]["vocab"]["b"] = (
        words["model"]["vocab"]["b"],
        words["model"]["vocab"]["a"],
    )
    (siglip / "tokenizer.json").write_text(json.dumps(words))
    assert OpenClip(str(siglip)).trunk_fingerprint("text") != once


@pytest.fixture
def tagged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A small model that stands in for ViT-L-14, whose tags differ in mean, std and activation."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-L-14", copy.deepcopy(MODELS["clip"]))
    save_file(open_clip.create_model("ViT-L-14").state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_a_file_with_a_tag_gets_the_tags_recipe(tagged: Path, no_sockets: list[str]) -> None:
    laion = OpenClip("ViT-L-14", "laion2b_s32b_b82k", weights=str(tagged))
    openai = OpenClip("ViT-L-14", "openai", weights=str(tagged.parent))
    assert (laion.quick_gelu, list(laion._cfg["mean"])) == (False, [0.5] * 3)
    assert (openai.quick_gelu, round(openai._cfg["mean"][0], 4)) == (True, 0.4815)
    kinds = {type(block.mlp.gelu).__name__ for block in openai.image_trunk.transformer.resblocks}  # type: ignore[union-attr]
    assert kinds == {"QuickGELU"}
    assert no_sockets == []


def test_a_siglip_by_name_takes_weights_and_tokenizer_from_a_folder(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, no_sockets: list[str]
) -> None:
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-16-SigLIP", copy.deepcopy(MODELS["siglip"]))
    named = OpenClip("ViT-B-16-SigLIP", "webli", weights=str(folders["siglip"]))
    published = OpenClip(str(folders["siglip"]))
    assert no_sockets == []
    assert torch.equal(named.tokenize(TEXTS)["text"], published.tokenize(TEXTS)["text"])
    assert list(named._cfg["mean"]) == [0.5] * 3
    assert named._cfg["resize_mode"] == "squash"
    assert named.trunk_fingerprint("text") == published.trunk_fingerprint("text")


def test_a_file_that_cannot_tell_is_said(tagged: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not OpenClip("ViT-L-14", str(tagged)).quick_gelu
    assert "differ in mean, std, quick_gelu, and weights.safetensors cannot tell" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        OpenClip("ViT-L-14", "openai", weights=str(tagged))
    assert caplog.text == ""


def test_tags_have_their_own_recipe() -> None:
    quick = {tag: recipe_of("ViT-B-32", tag)["quick_gelu"] for tag in ("openai", "metaclip_400m", "laion2b_s34b_b79k")}
    assert quick == {"openai": True, "metaclip_400m": True, "laion2b_s34b_b79k": False}
    assert recipe_of("ViT-B-16-SigLIP", "webli")["resize_mode"] == "squash"
    assert recipe_of("MobileCLIP-S1", "datacompdr")["mean"] == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("model", "tag", "hub_id", "remedy"),
    [
        ("ViT-B-32", "openai", "timm/vit_base_patch32_clip_224.openai", "backbone.weights=FILE"),
        ("ViT-bigG-14", "laion2b_s39b_b160k", "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", "backbone.weights=FILE"),
        ("ViT-B-16-SigLIP2", "webli", "timm/ViT-B-16-SigLIP2", "backbone.weights=FOLDER"),
        ("hf-hub:example-owner/never-published", None, "example-owner/never-published", "backbone.model=FOLDER"),
    ],
)
def test_a_hub_that_cannot_be_reached_is_told_at_once(
    model: str, tag: str | None, hub_id: str, remedy: str, no_sockets: list[str]
) -> None:
    start = time.monotonic()
    with pytest.raises(UserError) as error:
        find(model, tag, None, None)
    assert time.monotonic() - start < 20
    assert no_sockets
    message = str(error.value)
    assert "\n" not in message
    assert f"from the hub id {hub_id} " in message
    assert message.endswith(remedy)
    assert "open_clip_model.safetensors" in message


def test_what_is_wrong_with_files_is_told(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"backbone\.model=ViT-B-33 is not a model .*ViT-B-32"):
        OpenClip("ViT-B-33")
    with pytest.raises(
        MissingFileError, match=r"backbone\.model=.*wanted there open_clip_config\.json and open_clip_model"
    ):
        OpenClip(str(tmp_path))
    with pytest.raises(MissingFileError, match=r"backbone\.weights=nowhere\.safetensors: no such file"):
        OpenClip("ViT-B-32", "openai", weights="nowhere.safetensors")
    with pytest.raises(ConfigError, match=r"backbone\.weights=x: .* brings its own weights"):
        OpenClip(str(folders["clip"]), weights="x")
    wrong = publish("clip", tmp_path / "wrong")
    (wrong / "open_clip_model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match="could not be loaded") as error:
        OpenClip(str(wrong))
    assert "\n" not in str(error.value)


def test_a_pickle_is_not_unpickled(folders: dict[str, Path], tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"x": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(UserError, match="could not be loaded"):
        OpenClip("ViT-B-32", str(tmp_path / "bomb.pt"))
    assert not (tmp_path / "ran").exists()


def compile_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As torch.compile on the picture tower alone leaves the names."""
    return {name.replace("visual.", "visual._orig_mod."): value for name, value in state.items()}


def before(text: str) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda state: {text + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "change",
    [
        compile_names,
        before("_orig_mod."),
        before("module."),
        before("model."),
        before("module._orig_mod."),
        before("net.clip."),
    ],
)
@pytest.mark.parametrize("held", ["", "state_dict", "model"])
def test_names_that_a_training_tool_has_wrapped(
    tagged: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], held: str
) -> None:
    wanted = OpenClip("ViT-L-14", str(tagged)).trunk_fingerprint("image")
    state = change(load_file(tagged))
    torch.save({held: state, "epoch": 3} if held else state, tagged.parent / "last.pt")
    assert OpenClip("ViT-L-14", str(tagged.parent / "last.pt")).trunk_fingerprint("image") == wanted


def test_weights_of_another_picture_size_are_told_of(tagged: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The library's loader stretches their positions: other vectors than those that were trained, unsaid."""
    state = load_file(tagged)
    OpenClip("ViT-L-14", str(tagged))
    assert not [record for record in caplog.records if "stretched" in record.getMessage()]
    places, width = state["visual.positional_embedding"].shape
    side = round((places - 1) ** 0.5) + 1
    state["visual.positional_embedding"] = torch.randn(side**2 + 1, width)
    torch.save(state, tagged.parent / "larger.pt")
    OpenClip("ViT-L-14", str(tagged.parent / "larger.pt"))
    [said] = [record.getMessage() for record in caplog.records if "stretched" in record.getMessage()]
    assert (
        f"larger.pt: visual.positional_embedding ({side**2 + 1}, {width}) for ({places}, {width}) is stretched" in said
    )
    assert "backbone.model=NAME" in said


def test_keys_that_do_not_fit_are_counted_and_named(tagged: Path) -> None:
    state = load_file(tagged)
    scale = state.pop("logit_scale")
    torch.save({**state, "loss.scale": scale, "ln_final.weight": torch.zeros(5)}, tagged.parent / "odd.pt")
    with pytest.raises(UserError) as error:
        OpenClip("ViT-L-14", str(tagged.parent / "odd.pt"))
    told = str(error.value)
    assert "1 missing keys, for example 'logit_scale'; 1 unexpected keys, for example 'loss.scale'; " in told
    assert "1 of another shape, for example 'ln_final.weight (5,) for (16,)'; " in told
    assert "backbone.model=NAME" in told
    assert "\n" not in told
    save_file({f"deep.{name}": value for name, value in state.items()}, tagged.parent / "less.safetensors")
    with pytest.raises(
        UserError, match=r"less\.safetensors does not fit: 1 missing keys, for example 'logit_scale'; name"
    ):
        OpenClip("ViT-L-14", str(tagged.parent / "less.safetensors"))


@pytest.mark.parametrize("content", [{}, [1, 2], {"epoch": 3, "optimizer": {"lr": 1.0}}, torch.zeros(3)])
def test_a_file_without_named_tensors(tagged: Path, content: Any) -> None:
    torch.save(content, tagged.parent / "none.pt")
    with pytest.raises(UserError, match=r"none\.pt could not be loaded \(no named tensors in it") as error:
        OpenClip("ViT-L-14", str(tagged.parent / "none.pt"))
    assert "\n" not in str(error.value)


def test_one_weights_file_is_taken() -> None:
    assert weights_in(["a.pt", "z.safetensors", "open_clip_pytorch_model.bin"]) == ["open_clip_pytorch_model.bin"]
    assert weights_in(["a.pt", "z.safetensors"]) == ["z.safetensors"]
    assert weights_in(["open_clip_pytorch_model.bin", "open_clip_model.safetensors"]) == ["open_clip_model.safetensors"]
    assert weights_in(["README.md"]) == []


def test_every_option_names_a_model_and_a_tag_of_the_library() -> None:
    from omegaconf import OmegaConf

    seen = 0
    for path in sorted((PROJECT / "conf" / "backbone").glob("*.yaml")):
        cfg = OmegaConf.load(path)
        if str(cfg._target_).endswith(".OpenClip"):
            assert cfg.pretrained in open_clip.list_pretrained_tags_by_model(cfg.model), path.name
            seen += 1
    assert seen >= 10


def test_the_page_lists_every_option() -> None:
    page = (PROJECT / "docs" / "backbones.md").read_text()
    names = [path.stem for path in sorted((PROJECT / "conf" / "backbone").glob("*.yaml"))]
    assert len(names) >= 15
    assert [name for name in names if f"| `{name}` |" not in page] == []


def test_no_file_beside_the_weights_has_code_run(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a config asks for is handed to the library of the tokenizer as it stands."""
    folder = Path(shutil.copytree(folders["siglip"], tmp_path / "sent"))
    content = json.loads((folder / "open_clip_config.json").read_text())
    content["model_cfg"]["text_cfg"]["tokenizer_kwargs"] |= {"trust_remote_code": True}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    words = json.loads((folder / "tokenizer_config.json").read_text())
    words |= {"auto_map": {"AutoTokenizer": ["words.Own", "words.Own"]}, "tokenizer_class": "Own"}
    (folder / "tokenizer_config.json").write_text(json.dumps(words))
    code = f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n"
    (folder / "words.py").write_text(code + "from transformers import PreTrainedTokenizerFast as Own\n")
    for module in (dynamic_module_utils, hub):
        monkeypatch.setattr(module, "HF_MODULES_CACHE", str(tmp_path / "modules"), raising=False)
    with pytest.raises(ConfigError, match="wants to run code of that folder, which is not done"):
        OpenClip(str(folder))
    assert not (tmp_path / "ran").exists()

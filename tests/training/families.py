"""One small model of every family of backbones that can be trained: what holds for all of them is tested on this list."""

import importlib.util
from collections.abc import Callable
from functools import partial

import pytest

from picdesk.backbones import heads
from picdesk.backbones.lite import IMAGE_WEIGHTS, Lite
from picdesk.backbones.open_clip import OpenClip
from picdesk.backbones.own_code import OwnCode
from picdesk.backbones.precomputed import Precomputed
from picdesk.backbones.transformers import Transformers
from picdesk.backbones.two_tower import TwoTower
from picdesk.training.adaptation import BitFit, Full, LastBlocks, Lora
from tests.backbones import test_open_clip_files, test_own_code, tiny_models, tiny_open_clip
from tests.embedding.fakes import Tiny
from tests.folders import new_folder
from tests.training import models


def of_transformers(kind: str) -> TwoTower:
    return Transformers(str(tiny_models.make(kind, new_folder())))


def of_open_clip(kind: str) -> TwoTower:
    return OpenClip(str(test_open_clip_files.publish(kind, new_folder())))


def of_open_clip_and_others(kind: str) -> TwoTower:
    return OpenClip(str(tiny_open_clip.publish(kind, new_folder())))


def own_code() -> TwoTower:
    import transformers.dynamic_module_utils as dynamic

    folder = new_folder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamic, "HF_MODULES_CACHE", str(folder / "modules"))
        return OwnCode(str(test_own_code.publish(folder / "tiny-pair")), allow_code=True)


def lite(name: str, **settings: object) -> TwoTower:
    package = IMAGE_WEIGHTS[name][0]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"the package {package} is not installed")
    names = ["efficientnet_lite0", name] if settings.get("mirrored") else name
    return Lite(dim=16, image_trunk=names, dropout=0.3, **settings)  # type: ignore[arg-type]


def given_vectors(image: heads.Head, text: heads.Head, width: int = 6) -> TwoTower:
    return Precomputed(6, None, image, text, image_width=width, text_width=width)


def given_pictures() -> TwoTower:
    """Vectors of pictures that are given, and texts through the tower of another backbone."""
    return Precomputed(6, models.tiny_open_clip(), heads.Linear(0.1), heads.Linear(0.1), image_width=5)


GIVEN: dict[str, Callable[[], TwoTower]] = {
    "precomputed linear": partial(given_vectors, heads.Linear(0.1), heads.Mlp(8), width=5),
    "precomputed residual": partial(given_vectors, heads.Residual(4), heads.LowRank(2)),
    "precomputed one side": partial(given_vectors, heads.Same(), heads.Residual(4, dropout=0.1)),
    "precomputed text tower": given_pictures,
}
"""They encode no pictures, so their heads alone are trained."""
HEAVY: dict[str, Callable[[], TwoTower]] = {
    "lite": partial(lite, "efficientnet_lite0"),
    "lite2": partial(lite, "efficientnet_lite2"),
    "lite_pair": partial(lite, "efficientnet_lite2", mirrored=True, text_hidden=8, residual=True),
}
"""Trunks of full size, out of packages."""
FAMILIES: dict[str, Callable[[], TwoTower]] = {
    "fake": Tiny,
    "open_clip": partial(models.make, "open_clip"),
    "open_clip resnet": lambda: models.tiny_open_clip(model="tiny-train-resnet"),
    **{f"open_clip {kind}": partial(of_open_clip, kind) for kind in test_open_clip_files.MODELS},
    **{f"open_clip {kind}": partial(of_open_clip_and_others, kind) for kind in tiny_open_clip.KINDS},
    **{kind: partial(of_transformers, kind) for kind in tiny_models.MAKERS},
    "own_code": own_code,
    **GIVEN,
    **HEAVY,
}
ADAPTATIONS = {one.name: one for one in (Full(), LastBlocks(1, lr_decay=0.5), Lora(rank=2), BitFit())}
PICTURES = [name for name in FAMILIES if name not in GIVEN]
HEADLESS = ("tipsv2", "own_code")
"""Models that end without projections: nothing of them learns unless their trunks do."""

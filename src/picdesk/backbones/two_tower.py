"""What every backbone shares: two trunks, two heads, and a fingerprint over all that its features depend on."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from picdesk.backbones.deferred import Children, Deferred, KnownFingerprints
from picdesk.backbones.heads import shorten_head
from picdesk.backbones.model_prompts import Prompts
from picdesk.files import digest_of
from picdesk.interfaces import DIRECTIONS, Direction, Modality

ADDED = ("cut_at", "special_tokens", "filled_with", "code beyond")
"""What fingerprints tell apart since checkpoints were saved that did not."""
FUSING = ("fuse", "reparameterize", "switch_to_deploy")
"""Methods of timm's blocks, of which `timm.utils.model.reparameterize_model` calls the first that a block has."""


class TwoTower(nn.Module):
    """Holds `image_trunk`, `image_head`, `text_trunk`, `text_head` and `logit_scale`.

    Trunks take normalised pixels [n, 3, height, width] or the keyword tensors of `tokenize`, and give features [n, trunk_dim]
    float32; heads take those to [n, dim]. `embed` adds the L2 normalisation that every search expects. `shortest_side` is how
    many pixels of a picture's shorter side the preprocessing can use (None: not known, decode in full). `logit_bias` is the
    bias of a model trained with the pairwise sigmoid loss (SigLIP), None for the others. `by_captions`: a picture has no vector
    of its own, but scores by the best of the captions that its data set has of it. `compares_captions`: pictures are compared
    as sentences, which `captions` writes unless `by_captions`. `tuned` are the towers whose weights are no
    longer those that the backbone was built with. `reads_padding`: a text's feature depends on its padding, so none is cut off.
    `fused_towers` are encoded with the branches of their blocks summed up, `folded_towers` in bf16 with batch norms folded into
    convolutions; fingerprints are of the trunks as they were trained.
    `untrained`: a head was drawn by chance, and no checkpoint of weights that learned has taken its place.

    `dim` is what the heads give; `shorter` cuts that to the first numbers (a model trained for it, see `heads`). `prompts`
    stand before texts; where those of texts that ask differ from those that are found, `facing` gives the backbone as it encodes
    for one direction (`direction`, t2i unless turned). A trunk may be `Deferred`: it is loaded when somebody looks into it, and
    its fingerprint is taken from `known_fingerprints` where that knows it. `trunks_learn`: whether a trunk can be trained here;
    `knows_given_alone`: it encodes no pictures, but has the vectors that came with the data set.
    """

    image_trunk: nn.Module
    text_trunk: nn.Module
    logit_bias: nn.Parameter | None
    _modules: Children
    by_captions: bool = False
    compares_captions: bool = False
    trunks_learn: bool = True
    knows_given_alone: bool = False
    folded_towers: frozenset[Modality] = frozenset()

    def __init__(
        self,
        *,
        name: str,
        dim: int,
        image_trunk: nn.Module | Deferred,
        image_head: nn.Module,
        text_trunk: nn.Module | Deferred,
        text_head: nn.Module,
        trunk_dims: tuple[int, int],
        preprocessing: Mapping[Modality, Mapping[str, Any] | Callable[[], Mapping[str, Any]]],
        logit_scale: float,
        logit_bias: float | None = None,
        shorter: int | None = None,
        prompts: Prompts | None = None,
    ) -> None:
        super().__init__()
        object.__setattr__(self, "_modules", Children())
        self.name = name
        self.dim = dim if shorter is None else shorter
        self.prompts, self.direction = prompts or Prompts(), DIRECTIONS[0]
        self.shortest_side: int | None = None
        self._modules["image_trunk"] = image_trunk
        self.image_head = shorten_head(image_head, shorter, dim)
        self._modules["text_trunk"] = text_trunk
        self.text_head = shorten_head(text_head, shorter, dim)
        self.logit_scale = nn.Parameter(torch.tensor(float(logit_scale)))
        self.register_parameter("logit_bias", None)
        if logit_bias is not None:
            self.set_bias(logit_bias)
        trunks: dict[Modality, nn.Module | Deferred] = {"image": image_trunk, "text": text_trunk}
        self.fused_towers = frozenset(modality for modality, trunk in trunks.items() if has_branches(trunk))
        self._trunk_dims: dict[Modality, int] = {"image": trunk_dims[0], "text": trunk_dims[1]}
        self._preprocessing = preprocessing
        self._fingerprints: dict[tuple[Direction, Modality], str] = {}  # of both directions
        self.known_fingerprints: KnownFingerprints | None = None
        self.tuned: frozenset[Modality] = frozenset()
        self.reads_padding = False
        self.untrained = False

    def by_chance(self) -> str:
        """Why results are chance results, and what helps; "" where they are not."""
        if not self.untrained:
            return ""
        told = "are untrained, so these are chance results; give ckpt=... (or ckpt=latest) of a fit that gained"
        return f"the heads of {self.name} {told}"

    @property
    def turns(self) -> bool:
        """Whether a text or a picture has another vector when it asks than when it is found."""
        return self.prompts.differ

    def facing(self, direction: Direction) -> Self:
        """This backbone as it encodes for a direction: texts ask and pictures are found, or the other way round.

        Trunks, heads and known fingerprints are shared; itself where nothing differs. The two fill two places of the store.
        """
        if direction == self.direction or not self.turns:
            return self
        turned = copy.copy(self)
        object.__setattr__(turned, "_modules", Children((name, self._modules[name]) for name in self._modules))
        turned.direction = direction
        return turned

    def add_prompt(self, texts: Sequence[str]) -> list[str]:
        """The texts with what the model wants before them in this direction."""
        start = self.prompts.of("text", self.direction)
        return [start + text for text in texts] if start else list(texts)

    def trunk_dim(self, modality: Modality) -> int:
        """Width of a trunk's features."""
        return self._trunk_dims[modality]

    def head(self, modality: Modality) -> nn.Module:
        """The projection of one tower."""
        return self.image_head if modality == "image" else self.text_head

    def trunk(self, modality: Modality) -> nn.Module:
        """The pretrained part of one tower."""
        return self.image_trunk if modality == "image" else self.text_trunk

    def embed(self, modality: Modality, features: torch.Tensor) -> torch.Tensor:
        """Trunk features [n, trunk_dim] to embeddings [n, dim] of length 1; of a head in half precision in float32.

        A length that is itself a bfloat16 number is wrong by up to 0.4%, as mixed precision on a CPU has it.
        """
        made = self.head(modality)(features)
        return nn.functional.normalize(made.float() if made.dtype in (torch.bfloat16, torch.float16) else made, dim=-1)

    def set_bias(self, value: float) -> None:
        """Give the model a bias, or its bias another value."""
        if self.logit_bias is None:
            self.logit_bias = nn.Parameter(torch.zeros((), device=self.logit_scale.device), requires_grad=False)
        self.logit_bias.data.fill_(float(value))

    def given_features(
        self, modality: Modality, vectors: Mapping[Modality, NDArray[np.float32]], name: str
    ) -> NDArray[np.float32] | None:
        """Features that need no encoding, because the data set called `name` came with them; None for all but one backbone."""
        return None

    def check_texts(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Raise `ConfigError` where texts that are asked do not fall into the space of vectors that came with the data set."""

    def captions(self, pictures: Sequence[Image.Image]) -> list[str]:
        """What the model says of each picture; only a backbone that `compares_captions` says anything."""
        raise NotImplementedError

    def picture_to_pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop an RGB picture to uint8 [3, height, width]."""
        raise NotImplementedError

    def picture_inputs(self, pictures: Sequence[NDArray[Any]]) -> dict[str, torch.Tensor]:
        """What `picture_to_pixels` gave, as one batch: `pixels` [n, 3, height, width], or what a trunk takes by other names."""
        return {"pixels": torch.from_numpy(np.stack(pictures))}

    def normalise_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [n, 3, height, width] to the trunk's float input."""
        raise NotImplementedError

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Keyword tensors for the text trunk, [n, length]."""
        raise NotImplementedError

    def token_lengths(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """How many places of each text's inputs, [n], matter: up to the last that is not padding; all where none is marked
        or the tower reads it."""
        mask = inputs.get("attention_mask")
        if mask is None or self.reads_padding:
            first = next(iter(inputs.values()))
            return torch.full((len(first),), first.shape[1])
        places = torch.arange(1, mask.shape[1] + 1)
        return (mask.bool() * places).amax(1).clamp(min=1)

    @property
    def context(self) -> int | None:
        """The most tokens of a text that are read; None: not known."""
        return None

    def text_flags(self, texts: Sequence[str]) -> NDArray[np.uint8] | None:
        """`CUT` and `UNKNOWN` of each text, [n]; None where the backbone cannot tell."""
        return None

    def trunk_fingerprint(self, modality: Modality) -> str:
        """Hex digest over weights and preprocessing of one trunk; computed once, so not to be asked before training ends."""
        side = self.direction, modality
        if side not in self._fingerprints:
            deferred, known = self._modules.deferred(f"{modality}_trunk"), self.known_fingerprints
            key = deferred.key() if deferred is not None and known is not None else ""
            found = known.get(key) if known is not None and key else None
            self._fingerprints[side] = found or self._take_fingerprint(modality)
            if known is not None and key and not found:
                known.put(key, self._fingerprints[side])
        return self._fingerprints[side]

    def former_fingerprint(self, modality: Modality) -> str:
        """The same as it was before `ADDED` was part of it: what checkpoints of then were trained on."""
        return self._take_fingerprint(modality, ADDED)

    def _take_fingerprint(self, modality: Modality, without: Collection[str] = ()) -> str:
        rule = self._preprocessing[modality]
        whole = rule() if callable(rule) else rule
        parts = {
            "weights": weights_digest(self.trunk(modality)),
            "preprocessing": {key: value for key, value in whole.items() if key not in without},
            "dim": self.trunk_dim(modality),
        }
        return digest_of(parts | self.role_parts(modality))

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all parts; a trunk that is not loaded yet will come in evaluation mode, and is loaded only to train."""
        if mode:
            return super().train(mode)
        self.training = False
        for child in self._modules.loaded():
            child.train(False)
        return self

    @contextmanager
    def rest(self, modalities: Iterable[Modality]) -> Iterator[None]:
        """Within it the trunks of `modalities` are frozen, and nobody who goes through the weights meets them: neither a list of
        parameters nor a move to a device. A trunk that is not loaded, which always comes frozen, is not loaded for that."""
        names = [f"{modality}_trunk" for modality in modalities]
        for name in names:
            if self._modules.deferred(name) is None:
                self._modules[name].requires_grad_(False)
        with self._modules.rest(names):
            yield

    def role_parts(self, modality: Modality) -> dict[str, Any]:
        """What of a fingerprint depends on the prompt that one side has in this direction; nothing where there is none."""
        prompt = self.prompts.of(modality, self.direction)
        return {"prompt": prompt} if prompt else {}

    def forget_fingerprints(self) -> None:
        """To be called when a trunk's weights have been changed or loaded."""
        self._fingerprints.clear()

    def note_tuned(self, changed: Sequence[str]) -> None:
        """To be called with the names of the weights whose values were changed by training, here or before."""
        sides: tuple[Modality, ...] = ("image", "text")
        self.tuned |= {side for side in sides if any(name.startswith(f"{side}_") for name in changed)}


def has_branches(trunk: nn.Module | Deferred) -> bool:
    """Whether a trunk has blocks of timm whose branches can be made one (MobileCLIP's FastViT, RepVGG; Ding et al. 2021, arXiv
    2101.03697). Trunks that are loaded when they are first needed are of kinds that have none."""
    return isinstance(trunk, nn.Module) and any(
        type(module).__module__.startswith("timm.") and any(hasattr(module, name) for name in FUSING)
        for module in trunk.modules()
    )


def bias_of(model: Any) -> float | None:
    """The bias beside the temperature of a library's model; None where it was trained without one."""
    bias = getattr(model, "logit_bias", None)
    return None if bias is None else float(bias.detach())


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype};".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def normalise(pixels: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """uint8 [n, 3, height, width] to floats: /255, minus mean, over std; the same operations as torchvision's, in its order."""
    mean, std = mean.to(pixels.device), std.to(pixels.device)
    count, channels, height, width = pixels.shape
    if not pixels.is_contiguous(memory_format=torch.channels_last):
        return (pixels.to(mean.dtype) / 255).sub_(mean[:, None, None]).div_(std[:, None, None])
    # Rows of all colours are long, and quick to go through; colours alone come three at a time.
    rows = pixels.permute(0, 2, 3, 1).reshape(count * height, width * channels)
    floats = rows.to(mean.dtype, copy=True).div_(255).sub_(mean.repeat(width)).div_(std.repeat(width))
    return floats.view(count, height, width, channels).permute(0, 3, 1, 2)

"""Adaptation: which weights of a backbone are trained, and at which share of the learning rate each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from torch import nn

from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import ConfigError, examples
from picdesk.interfaces import Modality
from picdesk.parts import config_part
from picdesk.training import low_rank
from picdesk.training.depths import depths, own_biases
from picdesk.training.trained import Trained

log = logging.getLogger(__name__)
Towers = Literal["both", "image", "text"]
TOWERS: dict[str, tuple[Modality, ...]] = {"both": ("image", "text"), "image": ("image",), "text": ("text",)}
UNUSED = ("logit_scale", "logit_bias")  # a library's own; the backbone holds the temperature that is used


class Adaptation:
    """What all share: the heads and the temperature learn, and of each trunk in `towers` what `learning_weights` names.

    Trunk weights learn at `trunk_rate` times the optimizer's rate, and below the top of their trunk at `lr_decay` times that
    of the layer above (Clark et al. 2020, arXiv 2003.10555, section 3.1): 1 in what follows the last block, `lr_decay` in
    the last block, its square in the one before.
    """

    name = ""
    alone = False
    """Whether what it does to a weight must not be done twice."""

    def __init__(self, towers: Towers = "both", trunk_rate: float = 1.0, lr_decay: float = 1.0) -> None:
        if towers not in TOWERS:
            raise ConfigError(f"adaptation.towers={towers}: choose one of {', '.join(TOWERS)}")
        if not trunk_rate > 0:
            raise ConfigError(f"adaptation.trunk_rate={trunk_rate}: a share of optimizer.lr, above 0 (1: all of it)")
        if not 0 < lr_decay <= 1:
            raise ConfigError(
                f"adaptation.lr_decay={lr_decay}: what each layer has of the rate above it, within (0, 1]"
            )
        self.towers: tuple[Modality, ...] = TOWERS[towers]
        self.trunk_rate, self.lr_decay = trunk_rate, lr_decay

    def prepare(self, backbone: TwoTower) -> Trained:
        """Freeze and thaw; what is trained. Raises `ConfigError` where the backbone has nothing of the kind."""
        self.check(backbone)
        with backbone.rest(modality for modality in TOWERS["both"] if modality not in self.towers):
            backbone.requires_grad_(False)
            for part in self.heads(backbone):
                part.requires_grad_(True)
            backbone.logit_scale.requires_grad_(True)
            for modality in self.towers:
                self.thaw(backbone, modality)
            pairs = [(name, value) for name, value in backbone.named_parameters() if value.requires_grad]
            trained = Trained(backbone, pairs, self.rates(backbone, pairs))
        log.info("adaptation: %s", trained.describe())
        return trained

    def check(self, backbone: TwoTower) -> None:
        """Raise what `prepare` would, before anything costly is begun. Changes nothing."""
        if (self.alone or len(self.towers) == 1) and (both := shared_weights(backbone)):
            raise ConfigError(
                f"adaptation={self.name}: the towers of {backbone.name} share weights ({examples(both, 1)}), so that none can be "
                "adapted by itself; choose one that trains both as they are (adaptation=full)"
            )
        trunks = [name for modality in self.towers for name in self.learning_weights(backbone, modality)]
        if trunks and not backbone.trunks_learn:
            raise ConfigError(
                f"adaptation={self.name}: the trunks of {backbone.name} are used as their library has them and do not "
                "learn here; train a backbone=transformers, open_clip or lite"
            )
        if not trunks and not any(True for part in self.heads(backbone) for _ in part.parameters()):
            raise ConfigError(
                f"adaptation={self.name}: {backbone.name} has no head of its own to train; {way_to_learn(backbone)}"
            )

    def heads(self, backbone: TwoTower) -> Sequence[nn.Module]:
        """The heads that learn."""
        return (backbone.image_head, backbone.text_head)

    def tunes(self, backbone: TwoTower) -> frozenset[Modality]:
        """The towers whose embeddings a fit changes."""
        heads = [id(head) for head in self.heads(backbone) if list(head.parameters())]
        return frozenset(m for m in TOWERS["both"] if m in self.towers or id(backbone.head(m)) in heads)

    def thaw(self, backbone: TwoTower, modality: Modality) -> None:
        """Let what is chosen of one trunk learn."""
        trunk = backbone.trunk(modality)
        own = dict(trunk.named_parameters())
        chosen = [name for name in self.learning_weights(backbone, modality) if name.rpartition(".")[2] not in UNUSED]
        for name in chosen:
            own[name].requires_grad_(True)

    def learning_weights(self, backbone: TwoTower, modality: Modality) -> list[str]:
        """Names of a trunk's weights that learn."""
        raise NotImplementedError

    def rates(self, backbone: TwoTower, pairs: list[tuple[str, nn.Parameter]]) -> dict[str, float]:
        """The share of the learning rate of each weight."""
        level: dict[str, int] = {}
        for modality in self.towers:
            found = depths(backbone, modality, flat=self.lr_decay == 1)
            level |= {f"{modality}_trunk.{low_rank.plain_name(name)}": value for name, value in found.items()}
        rates: dict[str, float] = {}
        for name, _ in pairs:
            place = level.get(low_rank.plain_name(name))
            rates[name] = 1.0 if place is None else self.trunk_rate * self.lr_decay**place
        return rates


@config_part
class Heads(Adaptation):
    """Both trunks stay as they are; the heads and the temperature learn.

    Trunk features then never change, so they are computed once and training runs on them from memory.
    """

    name = "heads"

    def __init__(self) -> None:
        super().__init__()
        self.towers = ()


@config_part
class Full(Adaptation):
    """Everything learns."""

    name = "full"

    def learning_weights(self, backbone: TwoTower, modality: Modality) -> list[str]:
        """All."""
        return [name for name, _ in backbone.trunk(modality).named_parameters()]


@config_part
class LockImage(Full):
    """The picture trunk stays as it is, the text trunk learns (LiT, Zhai et al. 2022, arXiv 2111.07991).

    With `head` the head of the locked tower learns all the same: a backbone whose heads are new needs it.
    """

    name, locked, learning = "lock_image", "image", "text"

    def __init__(self, head: bool = True, trunk_rate: float = 1.0, lr_decay: float = 1.0) -> None:
        super().__init__(self.learning, trunk_rate, lr_decay)  # type: ignore[arg-type]
        self.head = head

    def heads(self, backbone: TwoTower) -> Sequence[nn.Module]:
        """Both, or that of the learning tower alone."""
        both = {"image": backbone.image_head, "text": backbone.text_head}
        return [head for modality, head in both.items() if self.head or modality != self.locked]


@config_part
class LockText(LockImage):
    """The text trunk stays as it is, the picture trunk learns; `head` as with `lock_image`."""

    name, locked, learning = "lock_text", "text", "image"


@config_part
class LastBlocks(Adaptation):
    """The last `n` blocks of each trunk learn, and what follows them."""

    name = "last_blocks"

    def __init__(self, n: int = 2, towers: Towers = "both", trunk_rate: float = 1.0, lr_decay: float = 1.0) -> None:
        super().__init__(towers, trunk_rate, lr_decay)
        if n < 1:
            raise ConfigError(f"adaptation.n={n}: at least 1 block; adaptation=heads trains none")
        self.n = n

    def learning_weights(self, backbone: TwoTower, modality: Modality) -> list[str]:
        """What lies at most `n` blocks deep. Raises `ConfigError` where there are fewer blocks."""
        found = depths(backbone, modality)
        blocks = max(found.values(), default=0) - 1
        if self.n > blocks:
            raise ConfigError(f"adaptation.n={self.n}: a trunk of {backbone.name} has {max(blocks, 0)} blocks")
        return [name for name, level in found.items() if level <= self.n]


@config_part
class BitFit(Adaptation):
    """Of the trunks only biases learn (Ben Zaken et al. 2022, arXiv 2106.10199)."""

    name = "bitfit"

    def learning_weights(self, backbone: TwoTower, modality: Modality) -> list[str]:
        """Everything named a bias. Raises `ConfigError` where there is none."""
        found = own_biases(backbone.trunk(modality))
        if not found:
            raise ConfigError(f"adaptation=bitfit: a trunk of {backbone.name} has no biases")
        return found


@config_part
class Lora(Adaptation):
    """Low-rank sums on the matrices of the trunks' blocks learn; they are merged into plain weights at the end."""

    name, alone = "lora", True

    def __init__(
        self,
        rank: int = 8,
        alpha: float = 16.0,
        towers: Towers = "both",
        trunk_rate: float = 1.0,
        lr_decay: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(towers, trunk_rate, lr_decay)
        if rank < 1 or alpha <= 0:
            raise ConfigError(f"adaptation.rank={rank}, adaptation.alpha={alpha}: rank at least 1, alpha above 0")
        self.rank, self.alpha, self.seed = rank, alpha, seed

    def learning_weights(self, backbone: TwoTower, modality: Modality) -> list[str]:
        """Names of the matrices. Raises `ConfigError` where there are none."""
        parts = backbone.trunk(modality).named_modules()
        found = [f"{path}.{name}" for path, module in parts for name in low_rank.matrices(module)]
        if not found:
            raise ConfigError(f"adaptation=lora: a trunk of {backbone.name} has no matrices to add to")
        return found

    def thaw(self, backbone: TwoTower, modality: Modality) -> None:
        """Put the sums on."""
        trunk = backbone.trunk(modality)
        low_rank.adapt(trunk, self.rank, self.alpha, self.seed)
        for module in trunk.modules():
            if isinstance(module, low_rank.LowRank):
                module.requires_grad_(True)

    def rates(self, backbone: TwoTower, pairs: list[tuple[str, nn.Parameter]]) -> dict[str, float]:
        """A sum has the rate of the weight that it is added to."""
        of_weights = super().rates(backbone, [(name, value) for name, value in backbone.named_parameters()])
        plain = {low_rank.plain_name(name): rate for name, rate in of_weights.items()}
        return {name: plain[owner(name)] for name, _ in pairs}


def way_to_learn(backbone: TwoTower) -> str:
    """What to do where a backbone has nothing that learns with frozen trunks."""
    if backbone.knows_given_alone:
        return "give the vectors one: backbone/head@backbone.image_head=linear, and the same with text_head"
    if not backbone.trunks_learn:
        return "its trunks do not learn here either; train a backbone=transformers, open_clip or lite"
    return "choose another adaptation"


def shared_weights(backbone: TwoTower) -> list[str]:
    """Names, in the text trunk, of the weights that the picture trunk has too."""
    image = {id(value) for value in backbone.image_trunk.parameters()}
    text = backbone.text_trunk.named_parameters()
    return [name for name, value in text if id(value) in image and name.rpartition(".")[2] not in UNUSED]


def owner(name: str) -> str:
    """Plain name of the weight that a trained parameter is, or is added to."""
    head, found, tail = name.partition(low_rank.INSIDE)
    return f"{head}{tail.split('.')[0]}" if found else name

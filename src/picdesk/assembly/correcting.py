"""`scores=`: the correction that the config names, put before an index; and what a page says of it."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from picdesk.assembly.build import build
from picdesk.backbones.two_tower import TwoTower
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError
from picdesk.interfaces import Direction, Embeddings, Index
from picdesk.report.content import Note
from picdesk.retrieval.banks import Banks
from picdesk.retrieval.dataset import World
from picdesk.search.corrected import Corrected
from picdesk.search.corrections import Bank, Correction, Fitted


def rule_of(cfg: DictConfig) -> Correction:
    """The rule that the config names."""
    rule: Correction = build(cfg, "scores")
    return rule


def banks_of(
    cfg: DictConfig, world: World | None, backbone: TwoTower, encoder: Encoder, reported: Sequence[str] = ()
) -> Banks | None:
    """What corrects the scores; None under `scores=plain`. `reported` are the pictures whose queries are scored.

    Raises `ConfigError` where there is no data set to take a bank of.
    """
    rule = rule_of(cfg)
    if not rule.active:
        return None
    if world is None:
        raise ConfigError(f"scores={rule.name}: there is no data set here to take a bank of")
    return Banks(world, backbone, encoder, rule, int(cfg.seed), reported)


def corrected(
    cfg: DictConfig,
    world: World,
    direction: Direction,
    queries: Embeddings,
    index: Index,
    items: Embeddings,
    backbone: TwoTower,
    encoder: Encoder,
) -> Index:
    """The index with the config's correction before it; itself under `scores=plain`."""
    banks = banks_of(cfg, world, backbone, encoder)
    if banks is None:
        return index
    if banks.rule.transductive and cfg.save_index:
        raise ConfigError(
            f"scores.transductive=true, save_index={cfg.save_index}: a bank of these very queries is not to be kept; "
            "leave transductive out"
        )
    return banks.corrected(direction, queries, index, items)


def unfitted(cfg: DictConfig, index: Index) -> Index:
    """An index that is about to be loaded, with the config's correction, which is loaded with it."""
    import numpy as np

    rule = rule_of(cfg)
    if not rule.active:
        return index
    if rule.transductive:
        raise ConfigError("scores.transductive=true: a saved index has a bank of its own; leave transductive out")
    nothing = np.zeros((1, 1), np.float32)
    return Corrected(index, rule, Bank.of(nothing), Fitted(np.zeros(0, np.float32), 0.0, None, np.zeros(1)))


def refuse(cfg: DictConfig, where: str) -> None:
    """Raise `ConfigError` where scores are to be corrected that cannot be."""
    rule = rule_of(cfg)
    if rule.active:
        raise ConfigError(f"scores={rule.name} has no share in {where}: leave it out (scores=plain)")


def notes(cfg: DictConfig) -> tuple[Note, ...]:
    """What the reader must know of scores that were corrected."""
    rule = rule_of(cfg)
    if not rule.active:
        return ()
    if rule.transductive:
        told = (
            f"transductive: the reported queries themselves, all at once, corrected the scores ({rule.told()}). "
            "No system that answers one query after the other can do that; do not compare with those that do"
        )
        return (Note(told, True, loud=True),)
    return (Note(f"scores corrected for hubs: {rule.told()}, by a bank of the queries of {rule.bank}"),)

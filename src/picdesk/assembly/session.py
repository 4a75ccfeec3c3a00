"""A job's session: here the config ends. Typed settings, and the data set, backbone and system that are built once asked for."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from picdesk import marks
from picdesk.assembly.allowed import class_of, import_plugins
from picdesk.assembly.build import LIMIT, as_far_as_known, build, check_all, plain_of, plugins_of, rendering
from picdesk.assembly.configured_rerankers import Rerankers
from picdesk.assembly.inherit import with_checkpoint, with_choices
from picdesk.assembly.reading import Judgments, Looks, dataset_of, given_backbone, read_and_split
from picdesk.assembly.saved_text import yaml_of
from picdesk.assembly.schema import Settings, typed_settings
from picdesk.assembly.shelf import keep_in_sweep, sweeping
from picdesk.backbones.deferred import KnownFingerprints
from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection, Fields
from picdesk.data.checks import Splits, clean_collection
from picdesk.data.facts import PictureFacts
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.store import Store
from picdesk.evaluation.ranks import Flags
from picdesk.files import digest_of, write_text
from picdesk.filters.columns import only
from picdesk.interfaces import Index
from picdesk.retrieval import slices
from picdesk.retrieval.banks import unfitted_index
from picdesk.retrieval.composed import check_pairs
from picdesk.retrieval.dataset import Dataset
from picdesk.retrieval.features import features_of
from picdesk.retrieval.scores import Bars, Metrics
from picdesk.retrieval.system import System
from picdesk.search.contests.choices import Choices
from picdesk.search.corrections import Correction
from picdesk.training.checkpoint import MODALITIES, Checkpoint, load
from picdesk.training.features import Features

log = logging.getLogger(__name__)


class Session:
    """What a job works with. `cfg` is kept to be written down; nothing below reads it.

    `whole`: with `part=all` the job takes the whole data set, whatever its parts. `asked`: texts come from outside. In a sweep,
    what is costly comes from the shelf that its jobs share.
    """

    def __init__(
        self, cfg: DictConfig, checkpoint: Checkpoint | None = None, whole: bool = False, asked: bool = False
    ) -> None:
        self.cfg, self.checkpoint, self._whole, self._asked = cfg, checkpoint, whole, asked
        self.settings: Settings = typed_settings(cfg)
        self.store, self.outputs = Path(cfg.paths.store), Path(cfg.paths.outputs)
        self.rerankers, self.choices = Rerankers(cfg), Choices(self.store / "index_choices.json")

    def open(self, training: bool = False, whole: bool = False, asked: bool = False) -> Session:
        """The session of a job: every part of the config checked, what the checkpoint brings taken over."""
        self.check(training)
        return Session(*with_checkpoint(self.cfg), whole, asked)

    def with_plugins(self) -> Session:
        """This session, once the packages of the user's own are imported."""
        import_plugins(self.plugins)
        return self

    def check(self, training: bool = False) -> None:
        """Check every part of the config. Raises `ConfigError`."""
        check_all(self.cfg, training)

    def without_checkpoint(self, whole: bool = False) -> Session:
        """The session of a job that takes nothing from a checkpoint, every part of the config checked."""
        self.check()
        return Session(with_choices(self.cfg), whole=whole)

    def using(self, checkpoint: Checkpoint | None) -> Session:
        """This session by the weights of a checkpoint."""
        return Session(self.cfg, checkpoint, self._whole, self._asked)

    def with_config(self, cfg: DictConfig) -> Session:
        """The same session by a config that differs in how things are searched alone: data, backbone and encoder stay."""
        other = Session(cfg, self.checkpoint, self._whole, self._asked)
        other.dataset, other.backbone, other.encoder = self.dataset, self.backbone, self.encoder
        other.choices = self.choices
        return other

    def build(self, key: str, **extra: Any) -> Any:
        """The object that a node of the config stands for."""
        return build(self.cfg, key, **extra)

    def kind_of(self, key: str) -> type:
        """The class that a node of the config names; nothing is built."""
        return class_of(self.target_of(key), key, self.plugins)

    def target_of(self, key: str) -> str | None:
        """The class that a node of the config names, by its path."""
        found: str | None = self.cfg[key].get("_target_")
        return found

    def as_far_as_known(self, name: str) -> Any:
        """One node as plain values, resolved where that is possible yet."""
        return as_far_as_known(self.cfg, name)

    @property
    def plugins(self) -> tuple[str, ...]:
        """The packages of the user's own that are named."""
        return plugins_of(self.cfg)

    def plain_node(self, name: str) -> Any:
        """One node of the config, resolved, as plain values."""
        return plain_of(self.cfg, name)

    @cached_property
    def plain_config(self) -> dict[str, Any]:
        """The whole config, resolved, as plain values; not to be changed."""
        return self._plain(resolve=True)

    @cached_property
    def unresolved_config(self) -> dict[str, Any]:
        """The whole config as plain values, interpolations as they are; not to be changed."""
        return self._plain(resolve=False)

    def _plain(self, resolve: bool) -> dict[str, Any]:
        return {str(key): value for key, value in OmegaConf.to_container(self.cfg, resolve=resolve).items()}  # type: ignore[union-attr]

    def config_text(self) -> str:
        """The config as YAML with its interpolations, as it is kept beside a checkpoint."""
        return OmegaConf.to_yaml(self.cfg, resolve=False)

    def write_config(self, path: Path, **other: str | None) -> None:
        """The config as a file, but for `other` values of keys at its top. Interpolations stay, for use in other folders."""
        write_text(path, marks.sign(yaml_of(self.unresolved_config | other)))

    @property
    def output_dir(self) -> Path:
        """The folder that Hydra made for this job."""
        return Path(HydraConfig.get().runtime.output_dir)

    def logger(self) -> Any:
        """The job's logger; in a sweep with its group and name, where the logger knows groups."""
        named = self.cfg
        if sweeping() and "group" in named.logger:
            named = named.copy()
            sweep = Path(HydraConfig.get().sweep.dir)
            for key, value in (("group", f"{sweep.parent.name}/{sweep.name}"), ("name", self.output_dir.name)):
                if named.logger.get(key) is None:
                    OmegaConf.update(named, f"logger.{key}", value)
        return build(named, "logger")

    @property
    def looks(self) -> Looks:
        """How pictures are looked at before anything is encoded."""
        return Looks(self.store, self.settings.encode.max_pixels)

    @property
    def takes_whole_data(self) -> bool:
        """Whether the job takes the whole data set, whatever its parts."""
        return self.settings.part == "all" and self._whole

    @property
    def max_bad_fraction(self) -> float:
        """How much of the data set may be bad."""
        return float(self.cfg.data.get("max_bad_fraction", 0.01))  # a reader of a plug-in may have no key for it

    def read_and_split(self, split: Any = None) -> tuple[Collection, Splits, tuple[str, ...]]:
        """The data set as its reader gives it, its parts (by `split`, else by the config's), and what the split says."""
        limit, split = OmegaConf.select(self.cfg, f"data.{LIMIT}"), split or self.build("split")
        qrels, root = self.cfg.data.get("qrels"), str(self.cfg.data.get("root") or "")
        judged = Judgments(str(qrels), root, bool(self.cfg.data.get("qrels_only"))) if qrels else None
        return read_and_split(self.build("data"), split, self.looks, self.takes_whole_data, limit, judged)

    @cached_property
    def dataset(self) -> Dataset:
        """The data set with its parts."""
        key = digest_of([self.key_of("data", "split", "prompt", "check"), self.looks.max_pixels, self.takes_whole_data])
        return keep_in_sweep("world", key, lambda: self._dataset(key))

    def _dataset(self, key: str) -> Dataset:
        collection, splits, notes = self.read_and_split()
        render = self.rendering(collection)
        report = self.looks.check(collection, splits, self.settings.check, self.max_bad_fraction, render)
        prompt = functools.partial(self.build, "prompt")
        return dataset_of(*clean_collection(collection, splits, report), notes, prompt, self._asked, key)

    def rendering(self, collection: Collection) -> Callable[[Fields], str] | None:
        """How the prompt makes texts of what the collection has; None where it does not suit that."""
        return rendering(self.cfg, collection.field_names())

    @property
    def part(self) -> Collection:
        """The part of the data set that the job is about; of one that is scored, the pictures that fulfil `filter`."""
        part, wanted = self.dataset.part(self.settings.part), self.settings.filter
        check_pairs(part, OmegaConf.select(self.cfg, "task.name"))
        return only(part, wanted) if wanted and not self._whole else part

    def key_of(self, *names: str) -> str:
        """Digest of the resolved nodes of these names."""
        return digest_of([{name: plain_of(self.cfg, name) for name in names}, str(self.cfg.paths.store)])

    @cached_property
    def backbone(self) -> TwoTower:
        """The backbone with the checkpoint's weights."""
        key = digest_of([self.key_of("backbone"), self.checkpoint.digest if self.checkpoint else None])
        return keep_in_sweep("backbone", key, self._backbone)

    def _backbone(self) -> TwoTower:
        backbone: TwoTower = given_backbone(self.cfg) if self.cfg.backbone.get("text_ckpt") else self.build("backbone")
        backbone.known_fingerprints = KnownFingerprints.beside(self.store)
        if self.checkpoint is not None:
            load(self.checkpoint, backbone)
            log.info("checkpoint: %s", self.checkpoint.path)
        return backbone.eval()

    def backbone_to_train(self) -> TwoTower:
        """The backbone of this session from now on: in a sweep a copy of its own, as the others share theirs."""
        if sweeping():
            self.backbone = copy.deepcopy(self.backbone)
        return self.backbone

    @cached_property
    def encoder(self) -> Encoder:
        """The encode loop, with counts of its own, on the store that the jobs share."""
        store = keep_in_sweep("store", str(self.store.resolve()), lambda: Store(self.store))
        return Encoder(store, digests=self.looks.facts(), **plain_of(self.cfg, "encode"))

    @property
    def bars(self) -> Bars:
        """How error bars are drawn."""
        return Bars(self.settings.bootstrap.resamples, self.settings.bootstrap.level, self.settings.seed)

    @cached_property
    def correction(self) -> Correction:
        """What takes hubs out of the scores."""
        rule: Correction = self.build("scores")
        return rule

    @property
    def metrics(self) -> Metrics:
        """What is reported. Raises `ConfigError` for what is no metric."""
        return Metrics.of(self.settings.metrics.names, self.settings.metrics.ks)

    @cached_property
    def system(self) -> System:
        """All that answers a query."""
        return System(
            self.backbone,
            self.encoder,
            self.new_index,
            self.rerankers.reranking(),
            self.settings.top_k,
            self.settings.run_depth,
            self.settings.min_score,
            self.bars,
            keep_in_sweep,
            self.correction,
            self.metrics,
            self.settings.share,
        )

    def new_index(self) -> Index:
        """An empty index of the chosen kind."""
        index: Index = self.build("index")
        index.remember_in(self.choices)
        return index

    def index_to_load(self) -> Index:
        """An empty index that a saved one is loaded into, with the score correction that is loaded beside it."""
        return unfitted_index(self.correction, self.new_index())

    def features_of(self, part: Collection, without: tuple[Any, ...] = ()) -> Features:
        """Trunk features of one part; `without` leaves the matrices of some sides empty."""
        return features_of(self.dataset, part, self.backbone, self.encoder, without, keep_in_sweep)

    def fingerprint(self, part: Collection) -> dict[str, str]:
        """Digests of one part's content; also of all that is said of its texts where rerankers read it."""
        fields = any(self.rerankers.weights.values())
        key = digest_of([self.dataset.part_key(part), fields])
        return keep_in_sweep("fingerprint", key, lambda: self.dataset.fingerprint(part, self.encoder, fields))

    def look_alikes(self, part: Collection) -> Flags | None:
        """Which pictures of one part have a near-duplicate in it; None where that is not known."""
        facts, key = self.encoder.digests, self.dataset.part_key(part)
        if not isinstance(facts, PictureFacts):
            return None
        return keep_in_sweep("look_alikes", key, lambda: slices.look_alikes(part, facts))

    def weights(self) -> dict[str, str]:
        """What the embeddings were made by: trunk fingerprints and the checkpoint's digest."""
        trunks = {f"{modality}_trunk": self.backbone.trunk_fingerprint(modality) for modality in MODALITIES}
        checkpoint = {"checkpoint": self.checkpoint.digest} if self.checkpoint else {}
        return {"name": self.backbone.name, **trunks} | checkpoint

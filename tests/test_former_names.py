"""Scripts elsewhere import some parts by the names that they had; these lead to where the parts are now."""

import importlib

import pytest
from omegaconf import OmegaConf

from picdesk.jobs.identity import settings_of


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *(("picdesk.data.readers", reader) for reader in ("Csv", "Jsonl", "NewsImages", "WebDataset")),
        ("picdesk.data.queries", "read_queries"),
        ("picdesk.pipelines.identity", "settings_of"),
    ],
)
def test_a_former_name_leads_to_the_part(module: str, name: str) -> None:
    assert callable(getattr(importlib.import_module(module), name))


def test_a_name_that_never_was_is_told() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        importlib.import_module("picdesk.data.readers").Nothing  # noqa: B018


def test_the_former_settings_of_takes_a_config_with_interpolations_as_they_are_written() -> None:
    former = importlib.import_module("picdesk.pipelines.identity").settings_of
    plain = {"split": {"seed": "${seed}", "made": "${oc.env:HOME}"}, "seed": 3}
    assert former(OmegaConf.create(plain)) == settings_of(plain) == former(plain)
    assert former(OmegaConf.create(plain))["split.made"] == '"${oc.env:HOME}"'

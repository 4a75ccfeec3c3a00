"""The former name of `picdesk.jobs.identity`, whose `settings_of` took a config where it takes plain values now."""

from collections.abc import Mapping
from typing import Any, cast

from omegaconf import OmegaConf

from picdesk.jobs import identity
from picdesk.jobs.identity import *  # noqa: F403


def settings_of(values: Mapping[str, Any]) -> dict[str, str]:  # type: ignore[no-redef]
    """As `picdesk.jobs.identity.settings_of`, of a config or of plain values; interpolations stay as they are written."""
    plain: Any = OmegaConf.to_container(cast("Any", values), resolve=False) if OmegaConf.is_config(values) else values
    return identity.settings_of(plain)

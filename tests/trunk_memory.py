"""In the tests' own processes the fingerprint of a trunk that comes with a package is taken once, whatever store it is for.

It is a digest over the weights, which are loaded for that: a tenth of a second for each test with a store of its own.
"""

from collections.abc import Callable, Collection

from picdesk.backbones import lite
from picdesk.backbones.two_tower import TwoTower
from picdesk.interfaces import Modality

Take = Callable[..., str]
AS_IT_COMES: Take = TwoTower._take_fingerprint
PACKAGES = lite.weights_file("efficientnet_lite0").parents[2]
"""Where packages are installed, whose files do not change while tests run."""


def begin() -> None:
    """Put it in place."""
    TwoTower._take_fingerprint = take_once(AS_IT_COMES)  # type: ignore[method-assign]


def take_once(take: Take) -> Take:
    """What was taken of a trunk that is still to be loaded, out of the same files and by the same settings."""
    known: dict[tuple[str, ...], str] = {}

    def take_if_new(backbone: TwoTower, modality: Modality, without: Collection[str] = ()) -> str:
        deferred = backbone._modules.deferred(f"{modality}_trunk")
        if without:
            return take(backbone, modality, without)
        if deferred is None or not all(path.is_relative_to(PACKAGES) for path in deferred.files):
            return take(backbone, modality)
        rule = backbone._preprocessing[modality]
        told = "" if callable(rule) else repr(rule)  # one that is called is of the files and settings alone
        key = (deferred.key(), repr(backbone.role_parts(modality)), told)
        if key not in known:
            known[key] = take(backbone, modality)
        return known[key]

    return take_if_new

import pytest

from picdesk.weights import misfit, unwrapped

OWN = ("visual.conv1.weight", "text.proj", "logit_scale")


@pytest.mark.parametrize("wrapper", ["", "_orig_mod.", "module.", "model.", "module._orig_mod.model.", "my_net."])
def test_wrappers_are_taken_off_where_all_names_share_them(wrapper: str) -> None:
    assert unwrapped({f"{wrapper}{name}": name for name in OWN}, OWN) == {name: name for name in OWN}


def test_names_of_the_model_itself_are_left_alone() -> None:
    tower = {"visual.conv1.weight": 1, "visual.ln.weight": 2}
    assert unwrapped(tower, OWN) == tower
    mixed = {"model.visual.conv1.weight": 1, "loss.scale": 2}
    assert unwrapped(mixed, OWN) == mixed
    twins = {"a._orig_mod.b": 1, "a.b": 2}
    assert unwrapped(twins, OWN) == twins
    assert unwrapped({"model": 1}, OWN) == {"model": 1}
    assert unwrapped({}, OWN) == {}


def test_one_line_counts_names_and_helps() -> None:
    error = misfit("file x", ["d", "c", "b", "a"], [], ["e (1,) for (2,)"], "do this")
    wanted = "file x does not fit: 4 missing keys, for example 'a', 'b', 'c', ...; "
    assert str(error) == wanted + "1 of another shape, for example 'e (1,) for (2,)'; do this"

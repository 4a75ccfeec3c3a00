import torch

from picdesk.unfilled import DRAWING, Unfilled


def test_nothing_is_drawn_for_weights_that_come_from_a_file() -> None:
    before = torch.random.get_rng_state()
    with Unfilled(DRAWING):
        layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Embedding(5, 6), torch.nn.Conv2d(1, 2, 3))
        torch.nn.init.trunc_normal_(layers[0].weight)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.nn.Linear(3, 4)
    assert not torch.equal(torch.random.get_rng_state(), before)

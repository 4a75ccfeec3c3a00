"""The plain encoder gives the bits of the library's, alone, padded, in training and in its gradients."""

import copy
import json
from itertools import groupby
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertConfig, BertModel

from picdesk.backbones.text_trunks import MeanOfTokens, minilm_folder, tokenizer_digest
from picdesk.backbones.tokens import flags_of
from picdesk.bert import WordPieces, load_bert
from picdesk.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT as the library saves it."""
    place = tmp_path_factory.mktemp("bert")
    torch.manual_seed(3)
    made = BertModel(
        BertConfig(
            vocab_size=99, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80,
            max_position_embeddings=40,
        )
    )  # fmt: skip
    with torch.no_grad():
        for value in made.parameters():
            value.add_(0.05 * torch.randn_like(value))
    made.save_pretrained(place)
    return place


def texts(lengths: tuple[int, ...]) -> dict[str, torch.Tensor]:
    ids = torch.randint(1, 99, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(len(lengths)))
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


@pytest.mark.parametrize("lengths", [(1,), (7,), (12, 12, 12), (5, 9, 2, 17), (40, 3)])
@pytest.mark.parametrize("trained", [False, True])
def test_states_and_gradients_are_the_librarys(folder: Path, lengths: tuple[int, ...], trained: bool) -> None:
    library = BertModel.from_pretrained(folder, add_pooling_layer=False).train(trained)
    plain = load_bert(folder).train(trained)
    assert sorted(plain.state_dict()) == sorted(library.state_dict())
    given, found = texts(lengths), []
    for model in (library, plain):
        torch.manual_seed(5)
        states = model(**given)
        states = getattr(states, "last_hidden_state", states)
        (states * torch.linspace(-1, 1, states.shape[-1])).sum().backward()
        found.append((states, [value.grad for value in model.parameters()]))
    assert torch.equal(found[0][0], found[1][0])
    assert [name for name, _ in library.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))


@pytest.mark.parametrize("lengths", [(1,), (7,), (12, 12, 12), (5, 9, 2, 17), (40, 3)])
def test_texts_one_after_the_other_have_the_states_that_each_has_alone(folder: Path, lengths: tuple[int, ...]) -> None:
    plain = load_bert(folder).eval()
    rows = [torch.randint(1, 99, (length,), generator=torch.Generator().manual_seed(length)) for length in lengths]
    groups = [(len(list(own)), length) for length, own in groupby(lengths)]
    with torch.inference_mode():
        alone = [plain(row[None], torch.ones_like(row)[None])[0] for row in rows]
        packed = plain.packed(torch.cat(rows), groups)
        means = MeanOfTokens(plain).packed(torch.cat(rows), groups)
    torch.testing.assert_close(
        packed, torch.cat(alone), rtol=0, atol=2e-6
    )  # to the bit for MiniLM: tests/serving/test_desk.py
    torch.testing.assert_close(means, torch.stack([one.mean(0) for one in alone]), rtol=0, atol=2e-6)


def test_a_copy_of_another_type_is_compiled_anew_and_without_a_compiler_it_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, row = load_bert(folder).eval(), torch.tensor([1, 5, 9])
    with torch.inference_mode():
        before = plain.packed(row, [(1, 3)])
        assert isinstance(plain._compiled[0], torch.jit.ScriptModule)
        half = copy.deepcopy(plain).to(torch.bfloat16)
        assert half.packed(row, [(1, 3)]).dtype == torch.bfloat16
        with monkeypatch.context() as without:
            without.delattr(torch.jit, "script")
            other = load_bert(folder).eval()
            assert torch.equal(other.packed(row, [(1, 3)]), before)
            assert other._compiled == [other.encoder]
        plain.embeddings.word_embeddings.weight.mul_(2)
        plain.encoder.layer[0].output.dense.weight.mul_(2)
        torch.testing.assert_close(
            plain.packed(row, [(1, 3)]), plain(row[None], torch.ones(1, 3))[0], rtol=0, atol=2e-6
        )


def test_other_models_and_lost_weights_are_told(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="hidden_act=relu"):
        load_bert(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights.pop("encoder.layer.2.output.dense.bias")
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"encoder\.layer\.2\.output\.dense\.bias"):
        load_bert(tmp_path)


TEXTS = [
    "a dog",
    "",
    "Größe 10 ≥ 5, naïve café",
    "東京の夜",
    "x" * 150,
    "word " * 200,
    "\u200b",
    "A [SEP] b [MASK]",
    "🐟 fish",
]


def test_tokens_are_the_librarys() -> None:
    library, ours = AutoTokenizer.from_pretrained(minilm_folder(), local_files_only=True), WordPieces(minilm_folder())
    assert tokenizer_digest(ours) == tokenizer_digest(library)
    for most in (4, 16, 128):
        options = {"padding": True, "truncation": True, "max_length": most, "return_tensors": "pt"}
        theirs, found = library(TEXTS, **options), ours(TEXTS, **options)
        for name in ("input_ids", "attention_mask"):
            assert torch.equal(found[name], theirs[name])
            assert found[name].dtype == theirs[name].dtype
        assert (flags_of(ours, TEXTS, most) == flags_of(library, TEXTS, most)).all()
    assert ours.pad_token_id == library.pad_token_id

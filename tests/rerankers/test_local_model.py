"""Language models of the transformers library with random weights, saved as published ones lie on disk."""

import shutil
from pathlib import Path

import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from picdesk.errors import ConfigError, UserError
from picdesk.language_models import Question
from picdesk.rerankers.asking import Asker
from picdesk.rerankers.local_model import LocalModel, load
from tests.rerankers.helpers import noise_picture

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for p in m['content'] %}{% if p['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}"
    "{{ p['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]


def byte_tokenizer() -> hf.PreTrainedTokenizerFast:
    """Every byte a token."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = byte_tokenizer()
    config = hf.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hf.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen")
    tokenizer = byte_tokenizer()
    place = tokenizer.convert_tokens_to_ids
    config = hf.Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 4,
            "mlp_ratio": 2,
            "patch_size": 14,
        },
        image_token_id=place("<|image_pad|>"),
        video_token_id=place("<|video_pad|>"),
        vision_start_token_id=place("<|vision_start|>"),
        vision_end_token_id=place("<|vision_end|>"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hf.Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    pictures = hf.Qwen2VLImageProcessor(size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112})
    tokenizer.save_pretrained(folder)
    pictures.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def own_model(folder: Path, tmp_path: Path, **settings: object) -> LocalModel:
    return LocalModel(str(tmp_path / "answers"), str(folder), max_tokens=6, **settings)  # type: ignore[arg-type]


def test_parity_with_the_librarys_own_generation(llama: Path, tmp_path: Path) -> None:
    found = own_model(llama, tmp_path).ask(Question("a storm", "be brief"))
    tokenizer = hf.AutoTokenizer.from_pretrained(llama)
    model = hf.AutoModelForCausalLM.from_pretrained(llama)
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "a storm"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    out = model.generate(**inputs, max_new_tokens=6, do_sample=False)[0][inputs["input_ids"].shape[1] :]
    assert found.text == tokenizer.decode(out, skip_special_tokens=True).strip()
    assert found.tokens_in == inputs["input_ids"].shape[1]
    assert found.tokens_out == len(out)


@pytest.mark.parametrize("kind", ["llama", "qwen"])
@pytest.mark.parametrize("template", [True, False])
def test_the_beginning_is_marked_once(
    kind: str, template: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Llama 3's template writes the token of the beginning, which its tokenizer sets before every text."""
    folder = shutil.copytree(request.getfixturevalue(kind), tmp_path / "model")
    tokenizer, begin = byte_tokenizer(), "<|endoftext|>"
    mark = tokenizer.convert_tokens_to_ids(begin)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, mark)]
    )
    tokenizer.chat_template = begin + TEMPLATE if template else None
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    if template:
        (folder / "chat_template.jinja").write_text(begin + TEMPLATE)
    _, processor, sees = load(folder, "x", "auto", "cpu")
    shown = (noise_picture(0),) if sees and template else ()
    read = own_model(folder, tmp_path)._inputs(processor, Question("a storm", "be brief", shown), sees)["input_ids"][0]
    assert read[0] == mark
    assert (read == mark).sum() == 1


def test_draws_repeat_for_a_question_in_any_order(llama: Path, tmp_path: Path) -> None:
    questions = [Question(text) for text in ("one", "two", "three")]
    model = own_model(llama, tmp_path, temperature=1.0)
    forward = [model.ask(question).text for question in questions]
    backward = [model.ask(question).text for question in reversed(questions)]
    assert forward == backward[::-1]
    assert own_model(llama, tmp_path, temperature=1.0, seed=1).ask(questions[0]).text != forward[0]


def test_answers_are_kept_as_those_of_an_endpoint(llama: Path, tmp_path: Path) -> None:
    first, second = (Asker(own_model(llama, tmp_path), "test") for _ in range(2))
    assert first.texts([Question("x")]) == second.texts([Question("x")])
    assert first.counts["lm_calls"] == 1
    assert first.counts["lm_tokens_in"] > 1
    assert second.counts["lm_calls"] == 0


def test_pictures_are_looked_at(qwen: Path, tmp_path: Path) -> None:
    model = own_model(qwen, tmp_path)
    answers = [model.ask(Question("what is it?", "sys", (noise_picture(seed),))) for seed in (0, 1)]
    without = model.ask(Question("what is it?", "sys"))
    assert answers[0].tokens_in > without.tokens_in, "the picture takes tokens"
    processor = hf.AutoProcessor.from_pretrained(qwen)
    assert type(processor).__name__ == "Qwen2VLProcessor"


def test_a_model_without_eyes_refuses_pictures(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reads texts only"):
        own_model(llama, tmp_path).ask(Question("what is it?", pictures=(noise_picture(0),)))


def test_fingerprints_follow_weights_and_settings(llama: Path, tmp_path: Path) -> None:
    marks = {
        own_model(llama, tmp_path, **settings).fingerprint() for settings in ({}, {"temperature": 0.5}, {"seed": 2})
    }
    assert len(marks) == 3
    assert own_model(llama, tmp_path).fingerprint() in marks


def test_a_folder_that_is_no_language_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"language_model\.model"):
        own_model(tmp_path, tmp_path).ask(Question("x"))
    with pytest.raises(ConfigError, match="dtype=int8"):
        own_model(tmp_path, tmp_path, dtype="int8")

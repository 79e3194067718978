"""Scoring answers by a language model: a tiny one, made here, with a tokeniser of letters."""

import shutil
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vision.errors import FoveateError
from vision.tasks.mistakes.anticipation import make_anticipator
from vision.tasks.mistakes.anticipation.reader import Reader, load_reader, token_tree
from vision.tasks.mistakes.steps import anticipator_from, check_steps, procedure_from

transformers = pytest.importorskip("transformers", reason="needs foveate[llm]")

TEMPLATE = (
    "{% for m in messages %}<{{ m.content }}>{% endfor %}{% if add_generation_prompt %}>{% endif %}"
)
LETTERS = [*"\n abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-,.:<>\"'"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a causal model of random weights, two layers of 32 channels."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    words = {letter: n for n, letter in enumerate(["</s>", "?", *LETTERS])}
    letters = Tokenizer(models.WordLevel(words, unk_token="?"))
    letters.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    letters.decoder = decoders.Fuse()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=letters, eos_token="</s>", unk_token="?", chat_template=TEMPLATE
    )
    config = transformers.LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096,
        initializer_range=0.3, bos_token_id=None, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model")
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def reader(folder) -> Reader:
    load_reader.cache_clear()
    return load_reader(folder)


def talk(text):
    return [{"role": "user", "content": text}]


def alone(reader, messages, answer):
    """Log likelihood of an answer by one plain pass over everything."""
    prompt = reader.encode(messages)
    ids = reader.tokenizer(answer, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([*ids, reader.tokenizer.eos_token_id])
    whole = torch.cat([torch.tensor(prompt), ids])[None]
    with torch.inference_mode():
        logits = reader.model(whole, use_cache=False).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, ids[:, None]).sum().item()


def test_scores_are_those_of_reading_each_answer_on_its_own(reader):
    """Whatever was read before, and whatever answers have in common."""
    answers = ["pour", "pour tea", "p", "drink", "pour"]
    for text in ("boil water", "boil water, stir", "boil water, stir", "boil", "something else"):
        scores = reader.score(talk(text), answers)
        assert scores == pytest.approx([alone(reader, talk(text), a) for a in answers], abs=1e-4)
        assert len({round(score, 3) for score in scores}) == 4


def test_more_answers_than_are_read_together(reader, monkeypatch):
    answers = [f"{a}{b}" for a in "abc" for b in "xyz"]
    once = reader.score(talk("boil"), answers)
    monkeypatch.setattr("vision.tasks.mistakes.anticipation.reader.TOGETHER", 4)
    assert reader.score(talk("boil"), answers) == pytest.approx(once, abs=1e-4)


def test_what_prompts_have_in_common_is_read_once(reader, monkeypatch):
    read = []
    forward = reader.model.forward

    def counted(ids, **options):
        read.append(ids.shape[1])
        return forward(ids, **options)

    monkeypatch.setattr(reader.model, "forward", counted)
    reader.score(talk("a" * 50), ["x"])
    reader.score(talk("a" * 50 + "b"), ["x"])
    assert read == [53, 1, 3, 1]  # the last but one: "b>>"


@pytest.mark.parametrize("passes", [0, 1], ids=["the prompt", "the answers"])
def test_after_a_failure_nothing_counts_as_read(reader, monkeypatch, passes):
    """It breaks off between two layers, of which the first has kept what it read."""
    layer = reader.model.model.layers[1]
    forward, left = layer.forward, [passes]

    def broken(*arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            raise MemoryError
        return forward(*arguments, **options)

    reader.score(talk("boil"), ["pour"])
    with monkeypatch.context() as patch:
        patch.setattr(layer, "forward", broken)
        with pytest.raises(MemoryError):
            reader.score(talk("boil water"), ["pour"])
    for text in ("boil water", "boil"):
        expected = alone(reader, talk(text), "pour")
        assert reader.score(talk(text), ["pour"]) == pytest.approx([expected], abs=1e-4)


def test_an_answer_is_the_likeliest_text(reader):
    (before,) = {reader.answer(talk("boil"), 6) for _ in range(2)}
    scored = reader.score(talk("boil"), ["x", "y"])
    assert reader.answer(talk("boil"), 6) == before
    assert reader.score(talk("boil"), ["x", "y"]) == pytest.approx(scored, abs=1e-5)


sequences = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=8)


@given(sequences)
def test_a_tree_holds_every_answer_and_each_beginning_once(answers):
    paths, tokens, parents = token_tree(answers)
    assert [[tokens[node] for node in path] for path in paths] == answers
    for path in paths:
        assert parents[path[0]] == -1
        assert all(parents[node] == before < node for before, node in pairwise(path))
    assert len(tokens) == len({tuple(a[: n + 1]) for a in answers for n in range(len(a))})


def test_every_step_gets_a_share_and_a_limit_from_left_out_examples(tea, folder):
    made = make_anticipator("transformers", tea, llm=str(folder), kind=("tea", "green"))
    expected = made.expect(["boil water"])
    assert {s for s, _ in expected.ranked} == set(tea.steps)
    assert sum(p for _, p in expected.ranked) == pytest.approx(1)
    assert made.threshold == pytest.approx(1.79, abs=0.01)  # log 6
    strict = make_anticipator("transformers", tea, llm=str(folder), alpha=0.5)
    lenient = make_anticipator("transformers", tea, llm=str(folder), alpha=0.05)
    assert strict.threshold < lenient.threshold
    assert made.reader is strict.reader, "a model is loaded once"


def test_reasons_come_before_scores(tea, folder):
    made = make_anticipator("transformers", tea, llm=str(folder), reason=True)
    made.reader.answer, kept = lambda messages, tokens: "because", made.reader.answer
    try:
        expected = made.expect(["boil water"])
    finally:
        made.reader.answer = kept
    assert expected.rationale == "because"
    assert len(expected.ranked) == len(tea.steps)


def test_a_model_without_system_messages_reads_them_all_the_same(reader, monkeypatch):
    strict = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}"
    monkeypatch.setattr(reader.tokenizer, "chat_template", strict + TEMPLATE)
    whole = reader.encode([{"role": "system", "content": "be brief"}, *talk("boil")])
    assert reader.tokenizer.decode(whole) == "<be brief\n\nboil>>"


def test_a_prompt_longer_than_the_model_can_read(tea, folder, tmp_path):
    """One line, or with `fallback` the default goes on."""
    short = shutil.copytree(folder, tmp_path / "short")
    config = transformers.AutoConfig.from_pretrained(short)
    config.max_position_embeddings = 64
    config.save_pretrained(short)
    tea.save(tmp_path / "tea.json")
    options = {"procedure": tmp_path / "tea.json", "anticipator": "transformers"}
    options |= {"llm": str(short)}
    procedure = procedure_from(options)
    with pytest.raises(FoveateError, match="looks back on 64: give fewer examples"):
        check_steps(anticipator_from(procedure, options), ["boil water"])
    made = anticipator_from(procedure, options | {"fallback": True})
    assert not check_steps(made, ["boil water"])[0]["mistake"]
    assert "looks back on 64" in made.warnings()[0]


def broken(folder, tmp_path, kind):
    path = tmp_path / "model.gguf"
    if kind == "empty file":
        path.touch()
    elif kind == "no GGUF":
        path.write_bytes(b"not a model" * 100)
    elif kind == "empty folder":
        path.mkdir()
    elif kind == "no chat":
        shutil.copytree(folder, path)
        (path / "chat_template.jinja").unlink()
    elif kind == "torn weights":
        shutil.copytree(folder, path)
        (path / "model.safetensors").write_bytes(b"torn")
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nothing", "no such model"),
        ("empty file", "no language model that can be loaded"),
        ("no GGUF", "no language model that can be loaded"),
        ("empty folder", "no language model that can be loaded"),
        ("torn weights", "no language model that can be loaded"),
        ("no chat", "no chat template"),
    ],
)
def test_what_is_no_model_is_said_in_a_line(tea, folder, tmp_path, kind, words):
    path = broken(folder, tmp_path, kind)
    with pytest.raises(FoveateError, match=words) as caught:
        make_anticipator("transformers", tea, llm=str(path))
    assert "\n" not in str(caught.value)

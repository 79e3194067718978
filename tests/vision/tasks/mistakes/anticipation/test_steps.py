"""`foveate check` on lists of steps, and new procedures."""

import json

import pytest

from vision.errors import FoveateError
from vision.tasks.mistakes.anticipation import make_anticipator
from vision.tasks.mistakes.procedure import load_procedure
from vision.tasks.mistakes.steps import alone, check_steps, read_steps


@pytest.fixture
def plan(tea, tmp_path):
    path = tmp_path / "tea.json"
    tea.save(path)
    return path


def steps_file(folder, content):
    path = folder / "today.json"
    path.write_text(json.dumps(content))
    return path


def test_flags_are_written_and_said(plan, tmp_path, capsys):
    steps = steps_file(tmp_path, [["boil water", "add leaves", "pour"], ["drink"]])
    alone(tmp_path / "out", None, None, procedure=plan, steps=steps)
    lines = (tmp_path / "out" / "today-steps.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [(r["execution"], r["place"], r["mistake"]) for r in records] == [
        (0, 0, False),
        (0, 1, False),
        (0, 2, False),
        (1, 0, True),
    ]
    assert len(records[3]["expected"]) == 3
    said = capsys.readouterr().out
    assert "execution 2, step 1: 'drink' looks wrong" in said
    assert "4 steps checked, 1 flagged" in said


def test_background_and_repeats_are_no_steps(tea):
    made = make_anticipator("choice", tea)
    records = check_steps(made, ["idle", "boil water", "idle", "boil water", "pour"], ["idle"])
    assert [r["step"] for r in records] == ["boil water", "pour"]


def test_the_threshold_can_be_set(plan, tmp_path):
    steps = steps_file(tmp_path, ["drink"])
    for threshold, flagged in ((0.0, True), (1e9, False)):
        alone(tmp_path, None, None, procedure=plan, steps=steps, threshold=threshold)
        (line,) = (tmp_path / "today-steps.jsonl").read_text().splitlines()
        assert json.loads(line)["mistake"] is flagged


def test_files_of_other_programs_and_all_alphabets(tmp_path, capsys):
    """A byte order mark, spaces around names, letters of any kind."""
    plan, steps = tmp_path / "plan.json", tmp_path / "Käse.json"
    plan.write_bytes('\ufeff{"name": "茶", "examples": [["お湯 ", "注ぐ", "trink ☕"]]}'.encode())
    steps.write_bytes('\ufeff["お湯", " 注ぐ", "注ぐ", "fällt"]'.encode())
    alone(tmp_path, None, None, procedure=plan, steps=steps)
    lines = (tmp_path / "Käse-steps.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [(r["step"], r["mistake"]) for r in records] == [
        ("お湯", False),
        ("注ぐ", False),
        ("fällt", True),
    ]
    assert "trink ☕" in lines[2], "readable as it is"
    assert "'fällt' is no step of this procedure" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["choice", "preconditions", "graph"])
def test_thousands_of_steps(tea, name):
    settings = {"graph": {"epochs": 50}}.get(name, {})
    made = make_anticipator(name, tea, **settings)
    records = check_steps(made, ["boil water", "add leaves", "pour", "drink"] * 500)
    assert [r["place"] for r in records] == list(range(2000))
    assert not any(r["mistake"] for r in records[:4])


def test_results_that_cannot_be_written(plan, tmp_path):
    steps = steps_file(tmp_path, ["drink"])
    with pytest.raises(FoveateError, match="cannot write"):
        alone(plan, None, None, procedure=plan, steps=steps)


@pytest.mark.parametrize("content", [b"my notes\n", b"[1]\n", b'{"step": "a"}\n', b"\xff"])
def test_only_earlier_flags_are_written_over(plan, tmp_path, content):
    steps, theirs = steps_file(tmp_path, ["drink"]), tmp_path / "today-steps.jsonl"
    theirs.write_bytes(content)
    with pytest.raises(FoveateError, match=r"today-steps\.jsonl is not foveate's to replace"):
        alone(tmp_path, None, None, procedure=plan, steps=steps)
    assert theirs.read_bytes() == content
    theirs.unlink()
    alone(tmp_path, None, None, procedure=plan, steps=steps)
    before = theirs.stat().st_ino
    alone(tmp_path, None, None, procedure=plan, steps=steps)
    assert theirs.stat().st_ino != before


def test_a_new_procedure_replaces_no_file(plan, tmp_path):
    before = plan.read_bytes()
    with pytest.raises(FoveateError, match=r"tea\.json is there already"):
        alone(tmp_path, None, None, new_procedure=plan, steps=steps_file(tmp_path, ["a"]))
    assert plan.read_bytes() == before


def test_a_new_procedure_from_lists(tmp_path):
    steps = steps_file(tmp_path, [["a", "b"], ["b", "a"]])
    alone(tmp_path, None, None, new_procedure=tmp_path / "mine.json", steps=steps, kind=["x"])
    made = load_procedure(tmp_path / "mine.json")
    assert made.name == "mine"
    assert [e.steps for e in made.examples] == [("a", "b"), ("b", "a")]
    assert made.examples[0].kind == ("x",)


def test_kinds_and_steps_of_a_procedure_are_listed(tea, plan, capsys):
    alone(None, None, None, procedure="captaincook4d")
    kinds = capsys.readouterr().out.splitlines()
    assert len(kinds) == 24
    assert "Coffee" in kinds
    alone(None, None, None, procedure="captaincook4d", kind=["Coffee"])
    steps = capsys.readouterr().out.splitlines()
    assert "Place the dripper on top of a coffee mug" in steps
    assert set(steps) < set(load_procedure("captaincook4d").steps)
    with pytest.raises(FoveateError, match=r"no kind 'Kaffee'.*and 16 more"):
        alone(None, None, None, procedure="captaincook4d", kind=["Kaffee"])


@pytest.mark.parametrize(
    "content",
    [[], [[]], {"a": 1}, "x", [1], [["a"], "b"], [["a", 2]], [["a"], []], ["a", " "], None],
)
def test_files_without_steps(tmp_path, content):
    with pytest.raises(FoveateError, match="must hold steps"):
        read_steps(steps_file(tmp_path, content))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give a video"),
        ({"steps": True}, "which procedure"),
        ({"steps": True, "procedure": "captaincook4d", "kind": ["Cofee"]}, "no kind 'Cofee'"),
        ({"steps": True, "procedure": "captaincook4d", "threshold": float("nan")}, "a number"),
        ({"new_procedure": "x.json"}, "--steps FILE or --examples"),
    ],
)
def test_what_is_missing_is_named(tmp_path, options, words):
    if "steps" in options:
        options = {**options, "steps": steps_file(tmp_path, ["a"])}
    with pytest.raises(FoveateError, match=words):
        alone(tmp_path, None, None, **options)

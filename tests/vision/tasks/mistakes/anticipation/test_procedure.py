"""Procedure files: what may be written, and what is said of what may not."""

import json

import pytest

from vision.errors import FoveateError
from vision.tasks.mistakes.procedure import Procedure, load_procedure, procedure_names


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def test_a_handwritten_file_of_bare_lists(tmp_path):
    """Steps are those of the examples, in the order they appear; repeats in a row count once."""
    content = {"name": "tea", "examples": [["boil", "boil", "pour"], ["pour", "drink"]]}
    procedure = load_procedure(write(tmp_path / "tea.json", content))
    assert procedure.steps == ("boil", "pour", "drink")
    assert [e.steps for e in procedure.examples] == [("boil", "pour"), ("pour", "drink")]


def test_saving_and_loading_give_the_same(tmp_path, tea):
    tea.save(tmp_path / "tea.json")
    assert load_procedure(tmp_path / "tea.json") == tea


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"name": "x", "examples": []}, "examples"),
        ({"name": "x", "examples": [[]]}, "examples.0.steps"),
        ({"name": "x", "examples": [["a", " "]]}, "examples.0.steps.1"),
        ({"name": "x", "examples": [["a"], {"steps": "b"}]}, "examples.1.steps"),
        ({"name": "x", "examples": [["a"], {"steps": ["b"], "kind": "c"}]}, "examples.1.kind"),
        ({"name": "x", "examples": [{"kind": ["a"]}]}, "examples.0.steps"),
        ({"name": "x", "examples": [["a"]], "colour": 1}, "colour"),
        ({"name": "x", "steps": ["boil"], "examples": [["boyl"]]}, "did you mean 'boil'"),
        ({"name": "x", "steps": ["a", "a"], "examples": [["a"]]}, "listed twice"),
        (
            {"name": "x", "examples": [["a"]], "trials": [{"steps": ["a"], "mistakes": [1]}]},
            "no step 1",
        ),
        ([["a"]], "no procedure"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, words):
    with pytest.raises(FoveateError, match=words) as caught:
        load_procedure(write(tmp_path / "bad.json", content))
    assert "bad.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FoveateError, match="cannot read"):
        load_procedure(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(FoveateError, match="no JSON"):
        load_procedure(tmp_path / "bad.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(FoveateError, match="no JSON"):
        load_procedure(tmp_path / "deep.json")
    (tmp_path / "wide.json").write_text('{"name": "tea"}', encoding="utf-16")
    with pytest.raises(FoveateError, match="no JSON"):
        load_procedure(tmp_path / "wide.json")
    with pytest.raises(FoveateError, match="did you mean 'captaincook4d'"):
        load_procedure("captaincook4")


def test_a_file_may_have_any_name(tmp_path, tea):
    tea.save(tmp_path / "tea.procedure")
    assert load_procedure(tmp_path / "tea.procedure") == tea


@pytest.mark.parametrize("name", procedure_names())
def test_shipped_procedures_load(name):
    assert load_procedure(name).examples


def test_a_part_holds_what_shares_steps():
    """Toys with common parts belong together, recipes without do not."""
    procedure = Procedure(
        name="x",
        steps=["a", "b", "c", "d", "e", "never"],
        examples=[
            {"steps": ["a", "b"], "kind": ["one"]},
            {"steps": ["b", "c"], "kind": ["two"]},
            {"steps": ["d", "e"], "kind": ["three"]},
        ],
    )
    assert procedure.part(["one"]).steps == ("a", "b", "c", "never")
    assert procedure.part(["three"]).steps == ("d", "e", "never")
    assert procedure.part(["unknown"]) == procedure

"""From pictures to paths: what users call, its pictures and its files."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from vision.errors import FoveateError
from vision.tasks.scanpath.digest import digest
from vision.tasks.scanpath.draw import draw
from vision.tasks.scanpath.files import LookFiles, heat_steps
from vision.tasks.scanpath.objects import Objects
from vision.tasks.scanpath.records import read_scanpaths
from vision.tasks.scanpath.results import Scanpaths

VIDEO, PICTURE = SimpleNamespace(pictures=()), SimpleNamespace(pictures=("cat",))


@pytest.fixture
def result(looker, picture) -> Scanpaths:
    return looker.predict([picture], samples=3, seed=1)[0]


def test_results_are_whole(result):
    assert (result.width, result.height, len(result.objects)) == (80, 60, 12)
    assert len(result.paths) == 3
    for path in result.paths:
        assert 1 <= len(path.fixations) <= 6
        chances = sum(f.log_probability for f in path.fixations)
        assert path.log_probability <= chances + 1e-3
        start = 0.0
        for f in path.fixations:
            x1, y1, x2, y2 = result.objects[f.object].box
            assert x1 <= f.x <= x2
            assert y1 <= f.y <= y2
            assert f.start == pytest.approx(start, abs=1e-3)
            start += f.duration
    for step in result.heat:
        assert sum(step) <= 1.001
    assert Scanpaths.model_validate_json(result.model_dump_json()) == result


def test_a_batch_gives_what_single_pictures_give(looker, picture):
    other = np.ascontiguousarray(picture[:30, ::-1])
    both = looker.predict([picture, other], samples=2, seed=3)
    singles = [looker.predict([image], samples=2, seed=3)[0] for image in (picture, other)]
    for one, single in zip(both, singles, strict=True):
        for a, b in zip(one.paths, single.paths, strict=True):
            assert [f.object for f in a.fixations] == [f.object for f in b.fixations]


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (700, 2), (33, 47)])
def test_pictures_of_any_size(looker, shape):
    (result,) = looker.predict([np.zeros((*shape, 3), np.uint8)], samples=1)
    painted = draw(np.zeros((*shape, 3), np.uint8), result)
    assert painted.shape == (*shape, 3)


def test_nothing_in_nothing_out(looker):
    assert looker.predict([]) == []


def test_targets_change_the_paths_and_are_marked(looker, picture):
    free, boxed, labelled = (
        looker.predict([picture], target=target, samples=8)[0]
        for target in (None, "50,20,70,35", "a")
    )
    assert free.target is None
    assert boxed.target == "50,20,70,35"
    assert [n for n, seen in enumerate(boxed.objects) if seen.target] == [6, 7] or any(
        seen.target for seen in boxed.objects
    )
    assert not any(seen.target for seen in labelled.objects)
    assert free.paths != boxed.paths
    assert free.paths != labelled.paths


def test_a_crop_tells_the_looks_of_the_target(looker, picture, tmp_path):
    Image.fromarray(picture[20:35, 50:70]).save(tmp_path / "crop.png")
    crop = looker.predict([picture], target=str(tmp_path / "crop.png"), samples=4)[0]
    assert crop.paths != looker.predict([picture], samples=4)[0].paths


def test_objects_may_be_given(looker, picture, tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps([{"box": [0, 0, 20, 20], "label": "a"}, {"bbox": [30, 30, 20, 20]}]))
    by_file = looker.predict([picture], objects=path, target="a")[0]
    assert [seen.label for seen in by_file.objects] == ["a", None]
    assert [seen.target for seen in by_file.objects] == [True, False]
    own = Objects([[0, 0, 20, 20], [30, 30, 50, 50]], 80, 60, ["a", None])
    assert looker.predict([picture], objects=[own], target="a")[0] == by_file


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "c"}, "unknown target 'c'"),
        ({"target": "900,0,950,9"}, "lies off the picture"),
        ({"objects": "detector"}, "know no detector"),
        ({"objects": "nowhere.json"}, "no such file"),
        ({"objects": []}, "its own objects"),
    ],
)
def test_what_cannot_be_used_is_named(looker, picture, options, message):
    with pytest.raises(FoveateError, match=message):
        looker.predict([picture], **options)


def test_what_is_no_picture_is_named(looker):
    with pytest.raises(FoveateError, match="picture 0 is float64"):
        looker.predict([np.zeros((5, 5, 3))])


def test_a_painted_frame_is_a_copy_with_the_paths(result, picture):
    before = picture.copy()
    painted = draw(picture, result)
    assert np.array_equal(picture, before)
    first = result.paths[0].fixations[0]
    x, y = min(round(first.x), 79), min(round(first.y), 59)
    assert (painted[y, x] != picture[y, x]).any()


def test_the_digest_counts_fixations(result):
    rows = digest([result, result])
    assert [row["label"] for row in rows] == ["elsewhere"]
    assert rows[0]["fixations"] == "100 %"
    assert rows[0]["paths"] == "6 of 6"
    assert digest([]) == []


def test_files_hold_every_fixation_and_can_be_read_again(result, picture, tmp_path):
    files = LookFiles(tmp_path / "cat", PICTURE)
    files.add(picture, 0.0, "cat", result)
    written = files.close(None)
    assert [path.name for path in written] == ["cat-scanpaths.csv", "cat-scanpaths.json"]
    with written[0].open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(path.fixations) for path in result.paths)
    assert float(rows[0]["x"]) == result.paths[0].fixations[0].x
    (again,) = read_scanpaths(written[1])
    for path, ours in zip(again.paths, result.paths, strict=True):
        assert path[:, 0].tolist() == [f.x for f in ours.fixations]
        assert path[:, 2] == pytest.approx([1000 * f.duration for f in ours.fixations])
        assert again.objects.at(path[:, :2]).tolist() == [f.object for f in ours.fixations]


@pytest.mark.parametrize("kind", ["gif", "mp4"])
def test_animations_last_as_long_as_the_path(result, picture, tmp_path, kind):
    files = LookFiles(tmp_path / "clip", VIDEO, animation=kind, heatmap=True)
    files.add(picture, 0.0, "000012", result)
    written = files.close(None)
    assert {path.name for path in written[2:]} == {
        f"clip-000012-scanpath.{kind}",
        "clip-000012-heat.png",
    }
    last = result.paths[0].fixations[-1]
    seconds = int((last.start + last.duration) * 10 + 1) / 10 + 1
    assert length(written[2]) == pytest.approx(seconds, abs=0.15)
    assert not list(tmp_path.glob("*.partial"))


def test_files_that_may_be_written_over_are_named_from_the_start(tmp_path):
    """Of single frames too, and not those of other sources with longer names."""
    for name in ("a-000012-heat.png", "a-000012-scanpath.gif", "a-2-000012-heat.png"):
        (tmp_path / name).touch()
    of = [path.name for path in LookFiles(tmp_path / "a", VIDEO, heatmap=True).paths]
    assert of == ["a-scanpaths.csv", "a-scanpaths.json", "a-000012-heat.png"]
    info = SimpleNamespace(pictures=("a", "2"))
    of = [path.name for path in LookFiles(tmp_path / "a", info, animation="gif").paths]
    assert of[2:] == ["a-scanpath.gif", "a-2-scanpath.gif"]


def length(path: Path) -> float:
    if path.suffix == ".gif":
        with Image.open(path) as image:
            total = 0
            for number in range(image.n_frames):
                image.seek(number)
                total += image.info["duration"]
        return total / 1000
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0)) / 10


def test_heat_maps_have_a_tile_a_step(result, picture):
    sheet = heat_steps(picture, result, columns=2)
    assert sheet.shape == (60 * -(-len(result.heat) // 2), 80 * min(2, len(result.heat)), 3)
    assert (sheet[:60, :80] != picture).any()


def test_another_kind_of_animation_is_refused(tmp_path):
    with pytest.raises(FoveateError, match="gif or mp4"):
        LookFiles(tmp_path / "x", None, animation="avi")

"""Captions painted with their frame."""

import numpy as np
import pytest

from vision.tasks.captioning.draw import INK, SHADE, colours, draw
from vision.tasks.captioning.results import Caption, CaptionRegion, Phrase


def result(width: int, height: int, text: str = "A dog on a bench.") -> Caption:
    boxes = [(width * 0.1, height * 0.1, width * 0.5, height * 0.6)]
    regions = [CaptionRegion(label="dog", score=0.9, box=box) for box in boxes]
    phrase = Phrase(
        start=2, end=5, text="dog", label="dog", region=0, box=boxes[0], mass=1, attention=[1]
    )
    return Caption(
        width=width, height=height, caption=text, score=-1, phrases=[phrase], regions=regions
    )


def grey(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (97, 401), (1920, 200), (300, 300)])
def test_the_caption_stands_on_a_dark_band_over_the_bottom_of_the_picture(width, height):
    frame = grey(width, height)
    painted = draw(frame, result(width, height))
    assert painted.shape == frame.shape
    assert (frame == 128).all()
    assert (painted[-1] == int(128 * SHADE)).all()
    assert (painted[: round(0.65 * height), -1] == 128).all()


def test_words_have_the_colour_of_their_box():
    frame, caption = grey(640, 480), result(640, 480)
    painted = draw(frame, caption)
    ((red, green, blue),) = colours(caption.phrases)
    edge = np.abs(painted.astype(int) - (red, green, blue)).max(-1) < 12
    assert edge[:400].sum() > 200
    band = painted[430:].reshape(-1, 3).astype(int)
    assert (np.abs(band - INK).max(-1) < 30).sum() > 50
    tint = np.array([c + (255 - c) * 0.35 for c in (red, green, blue)])
    assert (np.abs(band - tint).max(-1) < 30).sum() > 20


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (50, 60)])
def test_frames_too_small_for_text_keep_their_shape(shape):
    frame = grey(shape[1], shape[0])
    assert draw(frame, result(shape[1], shape[0])).shape == frame.shape


@pytest.mark.parametrize(
    "words", [" ".join(["motorcyclists"] * 18), "a" * 70, " ".join(["w" * 30] * 12)]
)
def test_long_captions_and_words_fit(words):
    painted = draw(grey(400, 300), result(400, 300, f"{words}."))
    touched = (painted != 128).any(-1)
    assert not touched[:190, 210:].any()  # boxes lie to the left
    assert (painted[:, :3] <= 128).all()
    assert (painted[:, -3:] <= 128).all()


def test_nothing_said_leaves_the_picture():
    silent = result(400, 300).model_copy(update={"caption": "", "phrases": []})
    assert (draw(grey(400, 300), silent) == 128).all()


def test_phrases_of_one_region_share_a_colour():
    one = result(64, 64).phrases[0]
    other = one.model_copy(update={"region": 1})
    first, second, third = colours([one, other, one])
    assert first == third != second

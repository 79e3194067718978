"""Tokens of captions: known cases, and against the Java tokeniser where it can run."""

import shutil

import pytest

from vision.tasks.captioning.metrics import tokenize

CASES = {
    "A man, riding a wave.": "a man riding a wave",
    "The dog's bowl isn't the dogs' bowl; it can't be.": (
        "the dog 's bowl is n't the dogs ' bowl it ca n't be"
    ).replace(" ' ", " "),
    'A sign reads "Stop" (really) -- twice...': "a sign reads stop -lrb- really -rrb- twice",
    "A close-up of a black/white cat on 5th St. at 6:55 p.m.": (
        "a close-up of a black/white cat on 5th st. at 6:55 p.m."
    ),
    "23 3/4 of 1,000 at 3.5%, for $5": "23\xa03/4 of 1,000 at 3.5 % for $ 5",
    "You cannot say we're gonna go": "you can not say we 're gon na go",
    "A road.A car is parked.on it": "a road.a car is parked.on it",
    "AT&T and cats&dogs & birds": "at&t and cats & dogs & birds",
    "a sign that reads K.": "a sign that reads k",
    "rock 'n' roll at four o'clock in the '90s": "rock 'n' roll at four o'clock in the '90s",
    "No. 5 says no.": "no. 5 says no",
    "A “quoted” man\u2019s café \u2014 \u2026": "a quoted man 's café",
    "Look out!! What?": "look out !! what",
    "": "",
    " \n\t ": "",
}


@pytest.mark.parametrize("text", CASES)
def test_known(text):
    assert tokenize(text) == CASES[text]


@pytest.mark.skipif(not shutil.which("java"), reason="needs Java")
def test_like_the_java_tokeniser():
    tokenizer = pytest.importorskip(
        "pycocoevalcap.tokenizer.ptbtokenizer", reason="needs foveate[captions]"
    ).PTBTokenizer()
    # there the next line decides about a period after a single letter, so a sentence follows each
    texts = [line for text in CASES if text.strip() for line in (text, "A cat.")]
    theirs = tokenizer.tokenize({"all": [{"caption": text} for text in texts]})["all"]
    for text, tokens in zip(texts, theirs, strict=True):
        assert tokenize(text) == tokens

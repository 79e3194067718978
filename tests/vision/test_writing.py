"""Files appear whole or not at all."""

import pytest

from vision.errors import FoveateError
from vision.writing import whole_file, write_whole


def test_text_is_utf8_and_folders_are_made(tmp_path):
    path = tmp_path / "new" / f"{'x' * 250}.txt"  # as long a name as there may be
    write_whole(path, "お湯\r\n")
    write_whole(path, "Käse\n")
    assert path.read_bytes() == "Käse\n".encode()
    assert list(path.parent.iterdir()) == [path]


def break_off(path, error):
    with whole_file(path) as partial:
        partial.write_text("half")
        raise error


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [
        (OSError(28, "No space left on device"), FoveateError, "cannot write .*: No space left"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_what_breaks_off_leaves_nothing_behind(tmp_path, error, raised, said):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(raised, match=said):
        break_off(path, error)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "before"

"""Files that appear whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from vision.errors import FoveateError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place to write a file to: the file is there by rename once the block is done.

    Its folder is made where there is none. When the block fails, nothing of it stays, and a file
    that was there before is untouched.

    Args:
        path: of the file.

    Raises:
        FoveateError: it cannot be written; any `OSError` of the block is taken for that.
    """
    partial = path.with_name(f".{uuid4().hex}.partial")  # fits wherever the file's own name does
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise FoveateError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8; see `whole_file`.

    Raises:
        FoveateError: it cannot be written.
    """
    with whole_file(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)

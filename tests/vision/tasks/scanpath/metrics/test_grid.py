"""ScanMatch, string edit and time delay: what must hold for any paths, and the published rules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.errors import FoveateError
from vision.tasks.scanpath.metrics import (
    ScanMatch,
    cluster_symbols,
    map_symbols,
    string_edit_distances,
    time_delay_distances,
    time_delay_similarities,
    timed,
)

SIZE = (400, 300)
fixation = st.tuples(st.floats(-20, 420), st.floats(-20, 320), st.floats(0, 600))
paths = st.lists(fixation, min_size=1, max_size=6)


def matched(table, a, b, gap):
    """ScanMatch's recursion, written out."""
    values = np.zeros((len(a) + 1, len(b) + 1))
    values[:, 0] = gap * np.arange(1, len(a) + 2)
    values[0] = gap * np.arange(1, len(b) + 2)
    for i in range(len(a)):
        for j in range(len(b)):
            values[i + 1, j + 1] = max(
                values[i, j] + table(a[i], b[j]), values[i, j + 1] + gap, values[i + 1, j] + gap
            )
    return values.max()


@given(paths, paths, st.sampled_from([0.0, -0.3]), st.sampled_from([None, 100.0]))
def test_scanmatch_is_the_recursion_over_cells(first, second, gap, time_bin):
    scanmatch = ScanMatch(SIZE, (8, 6), threshold=2.5, gap=gap, time_bin=time_bin)
    a, b = scanmatch.symbols(first), scanmatch.symbols(second)

    def likeness(x, y):
        return 2.5 - np.hypot(x % 8 - y % 8, x // 8 - y // 8)

    length = max(len(a), len(b))
    expected = matched(likeness, a, b, gap) / (2.5 * length) if length else 1
    assert scanmatch([first], [second])[0, 0] == pytest.approx(expected)


@given(paths, paths)
def test_scanmatch_of_many_is_that_of_each(first, second):
    scanmatch = ScanMatch(SIZE, time_bin=50)
    together = scanmatch([first, second], [second, first])
    for i, a in enumerate((first, second)):
        for j, b in enumerate((second, first)):
            assert together[i, j] == pytest.approx(scanmatch([a], [b])[0, 0])


def test_symbols_of_cells_repeated_by_duration():
    path = [(0, 0, 120), (399, 0, 30), (399, 299, 75), (-5, 500, 20)]
    assert ScanMatch(SIZE, (4, 3)).symbols(path).tolist() == [0, 3, 11, 8]
    # halves round to even: 2.4, 0.6, 1.5 and 0.4 bins
    assert ScanMatch(SIZE, (4, 3), time_bin=50).symbols(path).tolist() == [0, 0, 3, 11, 11]


def test_scanmatch_needs_no_durations_without_a_time_bin():
    assert ScanMatch(SIZE)([[(10, 10), (50, 60)]], [[(10, 10), (50, 60)]]).tolist() == [[1]]


@pytest.mark.parametrize("path", [[(10, 10)], [(10, 10, float("nan"))]])
def test_time_bins_need_durations(path):
    with pytest.raises(FoveateError, match="no durations"):
        ScanMatch(SIZE, time_bin=50).symbols(path)


def test_empty_paths():
    scanmatch = ScanMatch(SIZE)
    assert scanmatch([[]], [[], [(1, 1, 1)]]).tolist() == [[1, 0]]
    assert string_edit_distances([[]], [[], [(1, 1)]], SIZE).tolist() == [[0, 1]]
    assert np.isnan(time_delay_similarities([[]], [[(1, 1)]], SIZE)).all()


def test_timed_drops_the_rest_of_a_bin():
    assert timed([3, 5, 7], [100, 149, 49], 50).tolist() == [3, 3, 5, 5]


def test_symbols_by_cluster_and_by_class():
    path = [(10, 10), (90, 10), (150, 310)]
    assert cluster_symbols(path, [(100, 0), (0, 0)]).tolist() == [1, 0, 0]
    classes = np.arange(4).reshape(2, 2).repeat(100, axis=0).repeat(100, axis=1)
    assert map_symbols(path, classes).tolist() == [0, 0, 3]


def test_a_width_that_does_not_divide_wraps_into_the_next_row():
    # cells of 512 // 5 = 102 pixels: x = 511 is column 5, which is column 0 of the next row
    size = (512, 500)
    assert string_edit_distances([[(511, 0)]], [[(0, 150)], [(500, 0)]], size).tolist() == [[0, 1]]


@given(paths)
def test_time_delay_of_a_path_with_itself(path):
    assert time_delay_similarities([path], [path], SIZE)[0, 0] == pytest.approx(1)
    assert time_delay_distances([path], [path], k=1)[0, 0] == 0


def test_time_delay_takes_the_nearest_window():
    human = [(0, 0), (0, 10), (50, 50)]
    path = [(3, 4), (3, 14), (50, 52)]
    # windows differ by (5 + 5) / 2 and (5 + 2) / 2
    assert time_delay_distances([path], [human], k=2)[0, 0] == pytest.approx((5 + 3.5) / 2)
    assert time_delay_distances([path], [human], k=2, hausdorff=True)[0, 0] == pytest.approx(5)
    assert np.isnan(time_delay_distances([path], [human[:1]], k=2)).all()

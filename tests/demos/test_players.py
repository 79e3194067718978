"""Where tabs show what came out, in a real browser."""

import gradio as gr
import pytest

from demos.players import Table

ROWS = [{"step": "<b>fit</b> ${alert(1)} `{{x}}`", "times": 2}, {"step": "saw", "times": 1}]


@pytest.fixture(scope="module")
def address():
    with gr.Blocks(analytics_enabled=False) as app:
        table = Table("Steps")
        gr.Button("Some").click(lambda: ROWS, None, table)
        gr.Button("None").click(lambda: [], None, table)
    _, address, _ = app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    yield address
    app.close()


def test_a_digest_is_a_table_of_plain_text(page, address):
    page.goto(address)
    page.get_by_role("button", name="Some").click()
    page.locator("td").first.wait_for()
    assert page.locator("th").all_inner_texts() == list(ROWS[0])
    cells = [str(value) for row in ROWS for value in row.values()]
    assert page.locator("td").all_inner_texts() == cells
    page.get_by_role("button", name="None").click()
    page.get_by_text("Nothing was found.").wait_for()

"""Where tabs show what came out; pictures and videos are out of sight while there are none."""

from __future__ import annotations

from typing import Any

import gradio as gr

STYLE = """
.result:has(> .empty), .result:has(.html-container > :empty) { display: none }
.result > [data-testid=block-label] { position: static }
"""
"""Labels stand above pictures, not on them."""

TABLE = """${(rows => {
  if (!rows) return "";
  if (!rows.length) return "<p>Nothing was found.</p>";
  const line = (tag, texts) =>
    `<tr>${texts.map(t => `<${tag}>${new Option(t).innerHTML}</${tag}>`).join("")}</tr>`;
  const lines = rows.map(row => line("td", Object.values(row))).join("");
  return `<table><thead>${line("th", Object.keys(rows[0]))}</thead><tbody>${lines}</tbody></table>`;
})(value)}"""
"""`Option` escapes texts."""

TABLE_STYLE = """
overflow-x: auto;
padding: .7rem;
table { width: 100%; border-collapse: collapse; font-size: .9rem;
  font-variant-numeric: tabular-nums }
table:has(th:nth-child(6)) { min-width: 36em }
th, td { padding: .3em .5em; text-align: left; vertical-align: top }
tr { border-bottom: 1px solid var(--border-color-primary) }
p { margin: 0 }
"""
"""A wide table scrolls on a phone instead of growing tall."""


def picture(label: str, **settings: Any) -> gr.Image:
    """A picture that came out. Gradio's own button to share it would send it to another site."""
    return gr.Image(
        label=label,
        interactive=False,
        buttons=["download", "fullscreen"],
        elem_classes="result",
        **settings,
    )


def video(label: str = "Annotated video", **settings: Any) -> gr.Video:
    """A video that came out."""
    return gr.Video(label=label, interactive=False, elem_classes="result", **settings)


class Table(gr.HTML):
    """Shows a digest: rows of one set of keys. Clients of the API get the rows themselves."""

    def __init__(self, label: str) -> None:
        super().__init__(
            label=label,
            show_label=True,
            container=True,
            min_height=60,
            html_template=TABLE,
            css_template=TABLE_STYLE,
            apply_default_css=False,
        )

    def api_info(self) -> dict[str, Any]:
        """JSON schema of what clients get."""
        return {"type": "array", "items": {"type": "object"}}

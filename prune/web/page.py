"""The page itself: what stands where, and which action belongs to what; Gradio is needed to import it."""

from pathlib import Path
from typing import Any

import gradio as gr

from prune.data.settings import PALETTES
from prune.files import visible
from prune.web.desk import HEADERS, Desk, choices
from prune.web.look import CSS, THEME

LOOK: dict[str, Any] = {"theme": THEME, "css": CSS}
"""What ``Blocks.launch`` takes."""
EXAMPLES = Path(__file__).parent.parent.parent / "examples"
"""Of a clone; a working folder may have its own."""
CACHE_SECONDS = 3600
"""Copies of pictures that the server made for browsers are removed after so many."""
COLUMN_WIDTHS: list[str | int] = [74, 106, 142, 160, 118, 100]
"""px per column of the table of cracks; on a phone it scrolls sideways."""
HELP = (
    "A photograph of a wall, and what a network finds on it. Everything stays on this computer. "
    "Pictures with a side of more than 1600 px are shown smaller; everything is measured at full size."
)


def build(work: Path) -> gr.Blocks:
    """The page of a working folder: its ``results`` hold networks, ``results/corrections`` corrected pairs."""
    from prune.web.wiring import wire

    desk = Desk(work)
    with gr.Blocks(
        title="Cracks on a photograph", analytics_enabled=False, delete_cache=(CACHE_SECONDS, CACHE_SECONDS)
    ) as page:
        gr.Markdown(f"# Cracks on a photograph\n{HELP}")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                parts = _left(work, desk)
            with gr.Column(scale=3, min_width=300):
                parts |= _right()
        wire(page, desk, parts)
    return page


def example_files(work: Path) -> list[Path]:
    """The example photographs: of the working folder, else of the clone the program runs from."""
    folder = next((one for one in (work / "examples", EXAMPLES) if one.is_dir()), None)
    return [] if folder is None else [*visible(folder, "*.jpg"), *visible(folder, "*.png")]


def _left(work: Path, desk: Desk) -> dict[str, Any]:
    """Photograph, examples, network and settings; the first network is loaded, so that the first result comes soon."""
    entries = desk.networks.entries()
    first = next((entry.name for entry in entries if not entry.problem), None)
    classes = choices(desk.networks.open(first).predictor.classes) if first else []
    parts: dict[str, Any] = {"token": gr.State("", delete_callback=desk.sessions.forget)}
    parts["photo"] = gr.File(
        label="Photograph",
        file_types=["image"],
        elem_id="photo",
        height=150,
    )
    files = example_files(work)
    parts["example_files"] = files
    parts["examples"] = gr.Gallery(
        [(str(file), file.stem) for file in files],
        label="Or take an example",
        elem_id="examples",
        columns=3,
        height="auto",
        allow_preview=False,
        interactive=False,
        buttons=[],
        visible=bool(files),
    )
    parts["status"] = gr.Markdown("Drop a photograph, or take an example.", elem_id="status")
    names = [(entry.label, entry.name) for entry in entries]
    parts["network"] = gr.Dropdown(names, value=first, label="Network", elem_id="network", interactive=True)
    with gr.Accordion("About this network", open=False):
        parts["card"] = gr.Markdown("", elem_id="card")
        parts["measure_card"] = gr.Button("Show its card (measures its speed here)", size="sm", elem_id="show_card")
    with gr.Accordion("What is shown", open=True):
        parts["threshold"] = gr.Slider(
            0.05, 0.95, 0.5, step=0.05, label="Threshold", info="lower finds more", elem_id="threshold"
        )
        parts["classes"] = gr.CheckboxGroup(
            classes, value=classes, label="Classes", elem_id="classes", interactive=True
        )
        parts["opacity"] = gr.Slider(0.0, 1.0, 0.5, step=0.05, label="Opacity of the colors", elem_id="opacity")
        parts["palette"] = gr.Radio(list(PALETTES), value="standard", label="Colors", elem_id="palette")
    with gr.Accordion("Scale: from pixels to millimeters", open=False):
        parts["mm"] = gr.Number(
            label="Side of a pixel on the wall (mm)", info="empty: all lengths in px", elem_id="mm", value=None
        )
        parts["known_length"] = gr.Number(
            label="Or a known length (mm)", info="then click its two ends below", elem_id="known_length", value=None
        )
        parts["preview"] = gr.Image(label="Photograph", elem_id="preview", **_picture("The photograph, to click on"))
    return parts


def _picture(text: str) -> dict[str, Any]:
    """Options of a picture that is only looked at; ``text`` describes it to those who cannot see it."""
    return {"interactive": False, "format": "jpeg", "buttons": ["fullscreen"], "alt_text": text}


def _right() -> dict[str, Any]:
    """Results, in tabs."""
    parts: dict[str, Any] = {}
    with gr.Tabs(elem_id="tabs"):
        with gr.Tab("Result"):
            _result(parts)
        with gr.Tab("Slider"):
            parts["slider"] = gr.ImageSlider(
                label="Photograph and result", elem_id="slider", interactive=False, format="jpeg", max_height=900
            )
        with gr.Tab("Probability"):
            parts["heat_class"] = gr.Dropdown(label="Class", elem_id="heat_class", interactive=True)
            words = "gray = 0, then purple, red, orange, yellow = 1"
            parts["probability"] = gr.Image(label=words, elem_id="probability", **_picture("Probability of the class"))
        with gr.Tab("Grad-CAM", visible=False) as parts["gradcam_tab"]:
            parts["show_gradcam"] = gr.Button("Show where the network looks", elem_id="show_gradcam")
            words = "evidence for the class chosen under Probability; yellow = most"
            parts["gradcam"] = gr.Image(label=words, elem_id="gradcam", **_picture("Seg-Grad-CAM of the class"))
        with gr.Tab("Two networks"):
            _comparison(parts)
        with gr.Tab("Correct") as parts["correct_tab"]:
            _correction(parts)
        with gr.Tab("Survey"):
            _survey(parts)
    return parts


def _result(parts: dict[str, Any]) -> None:
    parts["result"] = gr.Image(label="What the network finds", elem_id="result", **_picture("Photograph with classes"))
    parts["legend"] = gr.HTML("", elem_id="legend")
    parts["cracks"] = gr.Dataframe(
        label="Cracks, the longest first",
        headers=HEADERS,
        elem_id="cracks",
        interactive=False,
        max_height=320,
        column_widths=COLUMN_WIDTHS,
        buttons=["copy"],
    )
    with gr.Row():
        for name, text in (("overlay", "Download overlay"), ("mask", "Download mask"), ("csv", "Download table")):
            part = f"download_{name}"
            parts[part] = gr.DownloadButton(text, elem_id=part, interactive=False, size="sm", min_width=90)


def _comparison(parts: dict[str, Any]) -> None:
    parts["second"] = gr.Dropdown(label="Compare with", elem_id="second", interactive=True)
    parts["agreement"] = gr.Markdown("", elem_id="agreement")
    with gr.Row():
        for name in ("first", "other"):
            words = "The chosen network" if name == "first" else "The one it is compared with"
            parts[f"{name}_overlay"] = gr.Image(label=words, elem_id=f"{name}_overlay", **_picture(words))
    parts["difference"] = gr.Image(label="Difference", elem_id="difference", **_picture("Where the networks differ"))
    parts["difference_legend"] = gr.HTML("", elem_id="difference_legend")


def _survey(parts: dict[str, Any]) -> None:
    gr.Markdown(
        "Many photographs, or a ZIP file of them, become a report with measured cracks, tables, and masks. Network and "
        "scale are those on the left; the threshold is the network's own."
    )
    parts["survey_files"] = gr.File(
        label="Photographs, or one ZIP file",
        file_types=["image", ".zip"],
        file_count="multiple",
        elem_id="survey_files",
    )
    parts["make_survey"] = gr.Button("Make the report", variant="primary", elem_id="make_survey")
    parts["survey_status"] = gr.Markdown("", elem_id="survey_status")
    with gr.Row():
        for name, text in (("survey_report", "Download report (HTML)"), ("survey_all", "Download everything (ZIP)")):
            parts[name] = gr.DownloadButton(text, elem_id=name, interactive=False, size="sm")


def _correction(parts: dict[str, Any]) -> None:
    gr.Markdown("Paint what was missed, erase what is wrong. Saved pairs are ready for training and scoring.")
    with gr.Row():
        parts["start_editor"] = gr.Button("Start from the result", elem_id="start_editor", size="sm")
        parts["save"] = gr.Button("Save the corrected pair", elem_id="save", variant="primary", size="sm")
    with gr.Row(equal_height=False):
        parts["erased"] = gr.Number(
            label="Crack to erase, by its number in the table", elem_id="erased", precision=0, minimum=1, value=1
        )
        parts["erase"] = gr.Button("Erase this crack", elem_id="erase", size="sm")
    parts["editor"] = gr.ImageEditor(
        label="Mask",
        elem_id="editor",
        interactive=True,
        sources=(),
        transforms=(),
        brush=gr.Brush(default_size=6, color_mode="fixed"),
        eraser=gr.Eraser(default_size=12),
        layers=gr.LayerOptions(allow_additional_layers=False),
        format="png",
        height=560,
        buttons=["fullscreen"],
    )
    parts["saved"] = gr.Markdown("", elem_id="saved")

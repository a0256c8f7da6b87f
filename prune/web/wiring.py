"""Which action of the page does what; a mistake becomes a sentence in the status line, and the page stays up."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from prune.errors import UserError, first_line
from prune.web import editing
from prune.web.compare import compare
from prune.web.desk import Desk, Look, choices

SLOW: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network"}
"""Of actions that run networks: one at a time."""
QUICK: dict[str, Any] = {"trigger_mode": "always_last", "concurrency_limit": 4, "show_progress": "hidden"}
"""Of settings: while one change is drawn, only the last one after it is waited for."""
HIDDEN: dict[str, Any] = {"show_progress": "hidden"}
"""Of actions whose results are short texts: a message must stay readable."""
FAILURES = (UserError, RuntimeError, OSError, MemoryError)
"""What a photograph or a network may cause; everything else is a mistake of this program."""
SETTINGS = ("token", "network", "threshold", "classes", "opacity", "palette", "mm")
RESULT = ("result", "legend", "slider")
MEASURED = ("cracks", "download_overlay", "download_mask", "download_csv")
COMPARED = ("first_overlay", "other_overlay", "difference", "difference_legend")
PROGRESS = gr.Progress()
"""Gradio finds it among the defaults of an action."""
NO_LEVELS = "this network gives class ids: there is no probability"


def sentence(error: BaseException) -> str:
    """What the status line says about an error."""
    text = str(error) if isinstance(error, UserError) else f"this did not work: {first_line(error)}"
    return text[:1].upper() + text[1:]


def look_of(threshold: float, classes: list[str], opacity: float, palette: str, mm: float | None) -> Look:
    """The settings of the page as they come from it."""
    return Look(threshold, classes, opacity, palette, mm)


def told(action: Callable[..., tuple[Any, ...]], count: int) -> Callable[..., Any]:
    """An action that gives ``count`` values and a message; after a mistake the values are cleared and the message says why."""

    def call(*values: Any) -> Any:
        try:
            return single(action(*values))
        except FAILURES as error:
            return single((*(None,) * count, sentence(error)))

    return call


def single(values: tuple[Any, ...]) -> Any:
    """Values as Gradio takes them: one alone is no tuple."""
    return values if len(values) > 1 else values[0]


def download(file: str | None) -> Any:
    """A download button for a file; without one it cannot be pressed."""
    return gr.DownloadButton(value=file, interactive=file is not None)


class Actions:
    """What the page does; arguments and results are values of its parts, in the order ``wire`` names them."""

    def __init__(self, desk: Desk, examples: list[Any]) -> None:
        self.desk, self.examples = desk, examples

    def lists(self, chosen: str | None, second: str | None) -> tuple[Any, ...]:
        """The networks there are now; what is chosen stays."""
        entries = self.desk.networks.entries()
        names = [(entry.label, entry.name) for entry in entries]
        usable = [entry.name for entry in entries if not entry.problem]
        first = chosen if chosen in usable else next(iter(usable), None)
        other = second if second in usable else ""
        return gr.Dropdown(names, value=first), gr.Dropdown([("nothing", ""), *names], value=other)

    def choose(self, name: str | None) -> tuple[Any, ...]:
        """Settings that fit a network: its classes, whether it has a threshold, whether it has gradients."""
        network = self.desk.networks.open(name)
        names = choices(network.predictor.classes)
        crack = names[self.desk.class_of(network, None) - 1]
        note = "lower finds more" if network.has_logits else "this network gives class ids: no threshold"
        return (
            gr.CheckboxGroup(choices=names, value=names),
            gr.Slider(interactive=network.has_logits, info=note),
            gr.Dropdown(names, value=crack),
            gr.Tab(visible=network.has_gradients),
            None,
            "",
            gr.skip(),
        )

    def take(self, file: str | None, token: str) -> tuple[Any, ...]:
        """A new photograph: what belongs to the one before is cleared."""
        clicked = self.desk.scaled_by_clicks(token)
        new, notes = self.desk.take(file, token)
        return new, None, None, self.desk.preview(new) if new else None, None if clicked else gr.skip(), notes

    def take_example(self, token: str, event: gr.SelectData) -> tuple[Any, ...]:
        """An example instead of an upload."""
        return (None, *told(self.take, 5)(str(self.examples[event.index]), token))

    def show(self, token: str, name: str | None, *look: Any) -> tuple[Any, ...]:
        """Overlay, legend and slider; the network runs when it did not before."""
        return (*(self.desk.draw(token, name, look_of(*look)) if token else (None,) * 3), gr.skip())

    def measure(self, token: str, name: str | None, *look: Any) -> tuple[Any, ...]:
        """Table, files, and a sentence about them."""
        if not token:
            return None, *(download(None),) * 3, gr.skip()
        table, text, *files = self.desk.measure(token, name, look_of(*look))
        notes = self.desk.sessions.get(token).upload.notes
        return table, *map(download, files), ". ".join((*(note[:1].upper() + note[1:] for note in notes), text))

    def probability(self, token: str, name: str | None, class_name: str | None) -> tuple[Any, ...]:
        """The probability of a class."""
        shown = self.desk.probability(token, name, class_name) if token else None
        label = "gray = 0, then purple, red, orange, yellow = 1"
        return gr.Image(value=shown, label=NO_LEVELS if token and shown is None else label), gr.skip()

    def gradcam(self, token: str, name: str | None, class_name: str | None) -> tuple[Any, ...]:
        """Where a checkpoint looks."""
        return self.desk.gradcam(token, name, class_name), gr.skip()

    def compare(self, second: str | None, token: str, name: str | None, *look: Any) -> tuple[Any, ...]:
        """Two networks; their message stands beside them."""
        if not token or not second:
            return (*(None,) * 4, "")
        found = compare(self.desk, token, (name, second), look_of(*look))
        return found.first, found.second, found.difference, found.legend, found.sentence

    def click(self, token: str, length: float | None, event: gr.SelectData) -> tuple[Any, ...]:
        """An end of the known length."""
        try:
            scale, text = self.desk.scale(token, (event.index[0], event.index[1]), length)
        except UserError as error:
            return gr.skip(), self.desk.preview(token) if token else None, sentence(error)
        return gr.skip() if scale is None else scale, self.desk.preview(token), text or gr.skip()

    def edit(self, token: str, name: str | None, *look: Any) -> tuple[Any, ...]:
        """The editor with the result."""
        if not token:
            return gr.skip(), gr.skip()
        classes = self.desk.networks.open(name).predictor.classes
        colors = editing.brushes(classes)
        brush = gr.Brush(default_size=6, colors=colors, default_color=colors[-1], color_mode="fixed")
        return gr.ImageEditor(value=editing.edit(self.desk, token, name, look_of(*look)), brush=brush), ""

    def edit_once(self, token: str, *rest: Any) -> tuple[Any, ...]:
        """The editor with the result, unless something is being painted already."""
        started = not token or self.desk.sessions.get(token).edited is not None
        return (gr.skip(), gr.skip()) if started else self.edit(token, *rest)

    def erase(self, token: str, value: Any, number: float | None) -> tuple[Any, ...]:
        """The editor without a crack; a mistake leaves it as it is."""
        try:
            return editing.erase(self.desk, token, value, number), f"Crack {number:g} is erased, not saved yet"
        except UserError as error:
            return gr.skip(), sentence(error)

    def survey(self, files: list[str] | None, name: str | None, mm: float | None, tell: Any) -> tuple[Any, ...]:
        """The report of many photographs."""
        made = self.desk.surveys.make(files, name, mm, tell)
        return download(made.report), download(made.everything), made.text

    def save(self, token: str, value: Any) -> tuple[str]:
        """The corrected pair on disk."""
        file = editing.save(self.desk, token, value)
        shown = (
            file.relative_to(self.desk.work.absolute()) if file.is_relative_to(self.desk.work.absolute()) else file.name
        )
        return (f"Saved as {shown}",)


def wire(page: gr.Blocks, desk: Desk, parts: dict[str, Any]) -> None:
    """Connect the parts of the page, by name, with what they do."""
    do = Actions(desk, parts["example_files"])

    def some(*names: str) -> list[Any]:
        return [parts[name] for name in names]

    settings, heat = some(*SETTINGS), some("token", "network", "heat_class")
    shown, measured = some(*RESULT, "status"), some(*MEASURED, "status")
    compared, warm = some(*COMPARED, "agreement"), some("probability", "status")

    def redraw(event: Any, how: dict[str, Any], name: str = "") -> Any:
        public: dict[str, Any] = {"api_name": name} if name else {"api_visibility": "private"}
        event = event(told(do.show, 3), settings, shown, show_progress_on=parts["result"], **public, **how)
        return event.then(told(do.measure, 4), settings, measured, api_visibility="private", show_progress="hidden")

    def recompare(event: Any) -> None:
        inputs, hidden = [parts["second"], *settings], {"api_visibility": "private", "show_progress": "hidden"}
        event.then(told(do.compare, 4), inputs, compared, **hidden, **SLOW)

    def renew(event: Any, name: str = "") -> None:
        event = redraw(event.then, SLOW, name)
        event = event.then(
            told(do.probability, 1), heat, warm, api_visibility="private", show_progress="hidden", **SLOW
        )
        recompare(event)

    taken = some("token", "gradcam", "editor", "preview", "mm", "status")
    renew(parts["photo"].upload(told(do.take, 5), some("photo", "token"), taken, api_name="photo", **HIDDEN), "show")
    renew(parts["photo"].clear(told(do.take, 5), some("photo", "token"), taken, api_visibility="private", **HIDDEN))
    selected = [parts["photo"], *taken]
    renew(parts["examples"].select(do.take_example, [parts["token"]], selected, api_visibility="private", **HIDDEN))

    fitting = some("classes", "threshold", "heat_class", "gradcam_tab", "gradcam", "card", "status")
    lists = some("network", "second")
    loaded = page.load(do.lists, lists, lists, api_name="networks", **HIDDEN)
    loaded = loaded.then(choose_of(do), [parts["network"]], fitting, api_name="choose", **HIDDEN, **SLOW)
    chosen = parts["network"].input(
        choose_of(do), [parts["network"]], fitting, api_visibility="private", **HIDDEN, **SLOW
    )
    renew(chosen)
    parts["measure_card"].click(desk.networks.card, [parts["network"]], [parts["card"]], api_name="card", **SLOW)

    for name in ("threshold", "classes", "opacity", "palette"):
        recompare(redraw(parts[name].input, QUICK))
    parts["mm"].change(told(do.measure, 4), settings, measured, api_name="measure", **QUICK)
    parts["heat_class"].input(told(do.probability, 1), heat, warm, api_name="probability", **SLOW)
    parts["show_gradcam"].click(told(do.gradcam, 1), heat, some("gradcam", "status"), api_name="gradcam", **SLOW)
    parts["second"].input(told(do.compare, 4), [parts["second"], *settings], compared, api_name="compare", **SLOW)
    points = some("mm", "preview", "status")
    parts["preview"].select(do.click, some("token", "known_length"), points, api_visibility="private")

    editor = some("editor", "saved")
    parts["correct_tab"].select(told(do.edit_once, 1), settings, editor, api_visibility="private")
    parts["start_editor"].click(told(do.edit, 1), settings, editor, api_name="edit")
    erased = some("token", "editor", "erased")
    parts["erase"].click(do.erase, erased, editor, api_name="erase", **HIDDEN)
    asked, answered = some("survey_files", "network", "mm"), some("survey_report", "survey_all", "survey_status")
    parts["make_survey"].click(survey_of(do), asked, answered, api_name="survey", **SLOW)
    parts["save"].click(told(do.save, 0), some("token", "editor"), [parts["saved"]], api_name="save")


def survey_of(do: Actions) -> Callable[..., tuple[Any, ...]]:
    """``Actions.survey`` with a progress bar; after a mistake there is nothing to download."""

    def call(files: list[str] | None, name: str | None, mm: float | None, bar: Any = PROGRESS) -> tuple[Any, ...]:
        def tell(done: int, total: int) -> None:
            bar((done, total), desc="photographs", unit="photographs")

        try:
            return do.survey(files, name, mm, tell)
        except FAILURES as error:
            return download(None), download(None), sentence(error)

    return call


def choose_of(do: Actions) -> Callable[..., tuple[Any, ...]]:
    """``Actions.choose``; for a network that cannot be used the settings stay as they are."""

    def call(name: str | None) -> tuple[Any, ...]:
        try:
            return do.choose(name)
        except FAILURES as error:
            return (*(gr.skip(),) * 6, sentence(error))

    return call

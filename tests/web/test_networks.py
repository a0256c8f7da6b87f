import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from prune.data.images import read_mask
from prune.data.labels import S2DS, ClassSet
from prune.deployment.export import export
from prune.deployment.target import ExportTarget
from prune.models.checkpoint import Network, save_checkpoint
from prune.models.unet import UNet
from prune.web import networks as module
from prune.web.compare import compare
from prune.web.desk import NO_CRACKS, Desk, Look, legend_html
from prune.web.editing import edit, erase, save
from prune.web.networks import Networks, listed
from prune.web.pictures import mask_layer
from tests.conftest import refused

PHOTO = Path(__file__).parent.parent.parent / "examples" / "branches.jpg"
AREAS = ClassSet("areas", ("Background", "Spalling", "Rust & <b>"), ((0, 0, 0), (200, 40, 40), (40, 200, 40)))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with networks of every kind."""
    torch.manual_seed(0)
    work = tmp_path_factory.mktemp("work")
    models, exports = work / "results/models", work / "results/exports"
    network = Network(UNet(len(S2DS), widths=(4, 4, 8, 8, 8)).eval(), "unet", S2DS)
    save_checkpoint(network, models / "a.pth")
    areas = Network(UNet(len(AREAS), widths=(4, 4, 8, 8, 8)).eval(), "unet", AREAS)
    save_checkpoint(areas, models / "areas.pth")
    exports.mkdir()
    export(network, ExportTarget("onnx"), exports / "a.onnx")
    export(network, ExportTarget("onnx", argmax=True), exports / "ids.onnx")
    (models / "broken.pth").write_text("no network")
    (models / ".half.pth").touch()
    (exports / "a.onnx.md").touch()
    return work


@pytest.fixture(autouse=True)
def nothing_shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "SHIPPED", tmp_path)


@pytest.fixture
def desk(work: Path) -> Desk:
    return Desk(work)


@pytest.fixture
def token(desk: Desk) -> str:
    return desk.take(str(PHOTO), "")[0]


def test_every_file_is_listed_and_broken_ones_with_the_reason(work: Path) -> None:
    entries = {entry.name: entry for entry in listed(work)}
    assert list(entries) == ["a.pth", "areas.pth", "broken.pth", "a.onnx", "ids.onnx"]
    broken = entries.pop("broken.pth")
    assert broken.label == "broken.pth: cannot be used" and broken.problem
    assert str(work) not in broken.problem
    assert not any(entry.problem for entry in entries.values())


def test_the_network_of_the_package_comes_first(work: Path, tmp_path: Path) -> None:
    shutil.copy(work / "results/exports/a.onnx", tmp_path / "crack.onnx")
    assert next((entry.name, entry.label) for entry in listed(work)) == ("crack", "crack (comes with the program)")


def test_a_file_that_is_repaired_can_be_used(work: Path, tmp_path: Path) -> None:
    file = tmp_path / "results/exports/b.onnx"
    file.parent.mkdir(parents=True)
    file.write_text("damaged")
    assert listed(tmp_path)[0].problem
    shutil.copy(work / "results/exports/a.onnx", file)
    assert not listed(tmp_path)[0].problem


def test_only_networks_of_the_list_are_opened(work: Path, tmp_path: Path) -> None:
    networks = Networks(work)
    with refused("^expected a network of the list, found '../a.pth'$"):
        networks.open("../a.pth")
    with refused("^broken.pth cannot be used: "):
        networks.open("broken.pth")
    with refused("^there is no network yet: "):
        Networks(tmp_path / "empty").open(None)


def test_loaded_networks_are_kept_and_bounded(work: Path) -> None:
    networks = Networks(work, loaded=2)
    first = networks.open("a.pth")
    assert networks.open("a.pth") is first
    networks.open("a.onnx")
    networks.open("ids.onnx")
    assert networks.open("a.pth") is not first


@pytest.mark.slow
def test_the_card(work: Path) -> None:
    networks = Networks(work)
    text = networks.card("areas.pth")
    for part in ("**Network:** unet", "**Runs on:** pytorch", "M parameters", "at 512x512", "ms for 640x480 px"):
        assert part in text
    assert "Rust &amp; &lt;b&gt;" in text
    assert "no threshold" in networks.card("ids.onnx") and "no threshold" not in text
    assert re.match("broken.pth cannot be used", networks.card("broken.pth"))


def test_a_photograph_that_takes_too_long_is_given_up(work: Path) -> None:
    networks = Networks(work)
    network = networks.open("a.pth")
    with refused("^expected a photograph done within 0 s, found a larger one$"):
        networks.see(network, np.zeros((10, 2100, 3), np.uint8), seconds=0)
    assert network.predictor.stopped is None


def test_the_network_runs_once_for_all_settings(desk: Desk, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.draw(token, "a.pth", Look())
    monkeypatch.setattr(module, "see", None)
    pictures = [Path(desk.draw(token, "a.pth", look)[0]).read_bytes() for look in (Look(), Look(opacity=1.0))]
    assert pictures[0] != pictures[1]
    _, legend, _ = desk.draw(token, "a.pth", Look(classes=[]))
    assert legend == '<p class="legend">nothing found</p>'
    desk.probability(token, "a.pth", "Spalling")


def test_measures_are_those_of_the_class_map_in_mm_with_a_scale(desk: Desk, token: str) -> None:
    frame, text, *files = desk.measure(token, "a.pth", Look(mm=2.0))
    plain, _, *_ = desk.measure(token, "a.pth", Look())
    assert [Path(file).name for file in files] == [
        "branches_overlay.jpg",
        "branches_mask.png",
        "branches_cracks.csv",
    ]
    assert list(frame)[1] == "length mm" and list(plain)[1] == "length px" and text.startswith("Found: ")
    assert np.allclose(frame["length mm"], 2 * plain["length px"], atol=0.011)
    with refused("mm_per_pixel: expected a number above 0, found -1"):
        desk.measure(token, "a.pth", Look(mm=-1))


def test_networks_without_a_crack_class_or_without_logits(desk: Desk, token: str) -> None:
    table, text, overlay, mask, csv = desk.measure(token, "areas.pth", Look())
    assert table is csv is None and text == NO_CRACKS and Path(overlay).is_file() and Path(mask).is_file()
    visit, ids = desk.sessions.get(token), desk.networks.open("ids.onnx")
    assert not ids.has_logits and desk.probability(token, "ids.onnx", None) is None
    assert (desk.class_map(visit, ids, Look(threshold=0.95)) == desk.class_map(visit, ids, Look())).all()
    with refused("^areas.pth: expected a network with a class called crack, found none$"):
        compare(desk, token, ("a.pth", "areas.pth"), Look())


def test_grad_cam_is_drawn_for_checkpoints_only(desk: Desk, token: str) -> None:
    assert Path(desk.gradcam(token, "a.pth", "Crack")).is_file()
    with refused(r"^Grad-CAM: expected a checkpoint \(.pth\), found an export"):
        desk.gradcam(token, "a.onnx", "Crack")


@pytest.mark.slow
def test_a_checkpoint_and_its_export_agree(desk: Desk, token: str) -> None:
    found = compare(desk, token, ("a.pth", "a.onnx"), Look())
    assert re.match(r"a.pth: \d+ ms · a.onnx: \d+ ms · (100% of the crack|neither finds)", found.sentence)
    with refused("^expected two different networks, found the same one twice$"):
        compare(desk, token, ("a.pth", "a.pth"), Look())


def test_two_clicks_give_the_scale(desk: Desk, token: str) -> None:
    assert desk.scale(token, (10, 10), 50)[0] is None and not desk.scaled_by_clicks(token)
    assert desk.scale(token, (110, 10), 50) == (0.5, "") and desk.scaled_by_clicks(token)
    desk.scale(token, (10, 10), 50)
    with refused("^expected two different points"):
        desk.scale(token, (10, 10), 50)
    assert desk.sessions.get(token).clicks == []


def test_a_refused_upload_forgets_the_photograph_before(desk: Desk, token: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no")
    with refused("^expected a photograph"):
        desk.take(str(tmp_path / "bad.jpg"), token)
    assert len(desk.sessions) == 0 and desk.take(None, "") == ("", "")


def test_an_unchanged_mask_is_saved_as_it_was_found(desk: Desk, token: str, tmp_path: Path) -> None:
    desk.work = tmp_path
    with refused("^expected a mask in the editor, found none"):
        save(desk, token, None)
    file = save(desk, token, edit(desk, token, "a.pth", Look()))
    assert (read_mask(file) == desk.class_map(desk.sessions.get(token), desk.networks.open("a.pth"), Look())).all()


def test_a_crack_is_erased_by_its_number(desk: Desk, token: str, tmp_path: Path) -> None:
    desk.work = tmp_path
    with refused("^expected a mask in the editor, found none"):
        erase(desk, token, None, 1)
    value = edit(desk, token, "a.pth", Look())
    visit, crack = desk.sessions.get(token), S2DS.classes.index("Crack")
    visit.edited = (np.zeros_like(visit.edited[0]), "a.pth")
    visit.edited[0][20:23, 10:200] = visit.edited[0][60:63, 10:100] = crack
    layer = mask_layer(visit.edited[0], S2DS.recolored("standard", on_photograph=True))
    with refused("^expected a number from 1 to 2, found 3$"):
        erase(desk, token, value | {"layers": [layer]}, 3)
    saved = read_mask(save(desk, token, erase(desk, token, value | {"layers": [layer]}, 2)))
    assert (saved[20:23, 10:200] == crack).all() and not saved[60:63].any()


def test_names_of_classes_are_no_html() -> None:
    assert "<b>" not in legend_html([((1, 2, 3), "<b>bold</b>")])

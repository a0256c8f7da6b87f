"""Every format that is read: small valid files made now, and what reads them.

A reader takes the damaged file, in a copy of its folder, and may raise ``UserError`` only.
"""

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from tests.fuzz.format import Format, with_png_checksums
from tests.fuzz.survey_readers import SURVEY_FORMATS


def _photo(name: str, mode: str = "RGB", **options: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        rng = np.random.default_rng(0)
        Image.fromarray(rng.integers(0, 255, (24, 32, 3)).astype(np.uint8)).convert(mode).save(folder / name, **options)
        return folder / name

    return make


def _read_photo(file: Path) -> object:
    from prune.data.images import image_size, read_image

    return image_size(file), read_image(file)


def _read_mask(file: Path) -> object:
    from prune.data.images import read_mask

    return read_mask(file)


def _read_probability(file: Path) -> object:
    from prune.data.mask_files import read_probability

    return read_probability(file)


def _float_tiff(folder: Path) -> Path:
    Image.fromarray(np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)).save(folder / "a.tif")
    return folder / "a.tif"


def _npy(folder: Path) -> Path:
    np.save(folder / "a.npy", np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30))
    return folder / "a.npy"


def _mat(folder: Path) -> Path:
    from scipy.io import savemat

    truth = np.ones((12, 16), np.uint16)
    truth[5, 2:12] = 2
    savemat(folder / "a.mat", {"groundTruth": {"Segmentation": truth, "Boundaries": truth > 1}}, do_compression=True)
    return folder / "a.mat"


def _read_mat(file: Path) -> object:
    from prune.data.crackforest import read_mat

    return read_mat(file)


def _seg(folder: Path) -> Path:
    (folder / "a.seg").write_text(
        "format ascii cr\nwidth 4\nheight 3\nsegments 2\ndata\n0 0 0 3\n0 1 0 1\n1 1 2 3\n0 2 0 3\n"
    )
    return folder / "a.seg"


def _read_seg(file: Path) -> object:
    from prune.data.crackforest import read_seg

    return read_seg(file)


def _evaluation(folder: Path) -> Path:
    """An evaluation of drawn masks, and the same once more to compare it with."""
    import prune
    from tests.conftest import make_data

    data = make_data(folder / "data", counts=(1, 1, 2), size=32)
    labels = data / "test/Labels_grayscale"
    prune.score(labels, labels, classes="s2ds").to_json(folder / "a.json")
    shutil.copy(folder / "a.json", folder / "b.json")
    shutil.rmtree(data)
    return folder / "a.json"


def _compare(file: Path) -> object:
    import prune

    return prune.compare([file, file.with_name("b.json")])


def _text(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return make


def _read_plan(file: Path) -> object:
    from prune.studies.plan_file import plan_from

    return plan_from(file)


def _read_recipe(file: Path) -> object:
    from prune.cli.train import TrainOptions
    from prune.recipes import recipe_settings

    return recipe_settings(TrainOptions, str(file))


def _study(folder: Path) -> Path:
    """What ``--report_only`` reads of a study of two rows."""
    import prune
    from tests.conftest import make_data
    from tests.studies.fake import PLAN, work

    make_data(folder / "data", counts=(2, 2, 2), size=32)
    prune.study(
        {**PLAN, "seeds": [0]}, data=str(folder / "data"), output=folder / "s", jobs=1, work=work, runtimes=["pytorch"]
    )
    shutil.rmtree(folder / "data")
    return folder / "s/study.json"


def _report(file: Path) -> object:
    from prune.studies import run

    with patch.object(run, "_charts", return_value=[]):  # they take a second and read what the tables read
        return run.report(file.parent)


def _checkpoint(folder: Path) -> Path:
    import torch

    from prune.data.labels import CRACK
    from prune.models.checkpoint import Network, save_checkpoint
    from prune.models.unet import UNet

    torch.manual_seed(0)
    return save_checkpoint(Network(UNet(2, widths=(4, 4, 4, 4, 4)).eval(), "unet", CRACK), folder / "a.pth")


def _load_checkpoint(file: Path) -> object:
    from prune.models.checkpoint import load_checkpoint

    network = load_checkpoint(file)
    return network.history(), network.title, network.pruned


def _checkpoint_content(folder: Path) -> Path:
    """What a checkpoint holds besides tensors, which lie beside it: its checksums would hide damage to any of that."""
    import torch

    content = torch.load(_checkpoint(folder), weights_only=True)
    stage = {"stage": "prune", "settings": {"criterion": "Taylor", "pruning_ratio": 50}, "scores": {"miou": 0.5}}
    content |= {"lineage": [stage]}
    torch.save(content.pop("state_dict"), folder / "state.pt")
    (folder / "a.pth").unlink()
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json"


def _load_checkpoint_content(file: Path) -> object:
    import torch

    from prune.shapes import load_json

    content = load_json(file, "a checkpoint")
    whole = file.with_suffix(".pth")
    state = torch.load(file.with_name("state.pt"), weights_only=True)
    torch.save(content | {"state_dict": state} if isinstance(content, dict) else content, whole)
    return _load_checkpoint(whole)


def _state_dict(folder: Path) -> Path:
    """A state dict as older versions of PyTorch wrote them: no archive, and without checksums."""
    import torch

    content = torch.load(_checkpoint(folder), weights_only=True)["state_dict"]
    torch.save(content, folder / "a.pth", _use_new_zipfile_serialization=False)
    return folder / "a.pth"


def _load_state_dict(file: Path) -> object:
    from prune.models.checkpoint import read_state_dict

    read_state_dict(file)
    return _load_checkpoint(file)


@cache
def _export(to: str) -> dict[str, bytes]:
    """The files of an export by name."""
    from prune.deployment.export import export
    from prune.deployment.target import ExportTarget
    from prune.models.checkpoint import load_checkpoint

    with TemporaryDirectory() as name:
        folder = Path(name)
        network = load_checkpoint(_checkpoint(folder))
        target = ExportTarget(to, "fp32", (32, 32))
        export(network, target, folder / f"a{target.suffix}")
        (folder / "a.pth").unlink()
        return {file.name: file.read_bytes() for file in folder.iterdir()}


def _exported(to: str, damaged: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for name, content in _export(to).items():
            (folder / name).write_bytes(content)
        return folder / damaged

    return make


def _predict(file: Path) -> Any:
    from prune.inference.load import load_predictor

    if file.suffix == ".bin":
        file = next(file.with_suffix(end) for end in (".xml", ".param") if file.with_suffix(end).exists())
    predictor = load_predictor(file, threads=1)
    predictor.class_map(np.zeros((32, 32, 3), np.uint8))
    return predictor.card


def _graph(folder: Path) -> Path:
    """The graph of a program, which lies beside it: its archive has checksums."""
    import zipfile

    file = _exported("pt2", "a.pt2")(folder)
    with zipfile.ZipFile(file) as archive:
        name = next(name for name in archive.namelist() if name.endswith("models/model.json"))
        (folder / "model.json").write_bytes(archive.read(name))
    return folder / "model.json"


def _run_graph(file: Path) -> object:
    import zipfile

    whole = file.with_name("b.pt2")
    with zipfile.ZipFile(file.with_name("a.pt2")) as archive, zipfile.ZipFile(whole, "w") as packed:
        for entry in archive.infolist():
            own = entry.filename.endswith("models/model.json")
            packed.writestr(entry.filename, file.read_bytes() if own else archive.read(entry))
    return _predict(whole)


def _unsealed(content: bytes) -> bytes:
    """An export as other programs write it: without a checksum, which would refuse all damage at once."""
    return content.replace(b"digest", b"digess")


def _hand_made(folder: Path) -> Path:
    from tests.web.hand_made import dark_network

    return dark_network(folder / "a.onnx")


def _metadata(folder: Path) -> Path:
    """The metadata of an ONNX file, which lies beside them."""
    import onnx

    (entry,) = onnx.load(str(_hand_made(folder))).metadata_props
    (folder / "a.json").write_text(entry.value)
    return folder / "a.json"


def _load_metadata(file: Path) -> object:
    import onnx
    from onnx.helper import set_model_props

    from prune.api.crack_errors import stored_errors
    from prune.api.inspect import inspect
    from prune.inference.metadata import METADATA

    network = onnx.load(str(file.with_name("a.onnx")))
    set_model_props(network, {METADATA: file.read_text(encoding="utf-8", errors="replace")})
    onnx.save(network, file.with_name("b.onnx"))
    return stored_errors(_predict(file.with_name("b.onnx"))), str(inspect(file.with_name("b.onnx")))


def _archive(folder: Path) -> Path:
    import zipfile

    _photo("a.png")(folder)
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "a.png", "photos/a.png")
        archive.write(folder / "a.png", "b.png")
    return folder / "a.zip"


def _unpack(file: Path) -> object:
    from prune.web.archive import unpack

    (file.parent / "out").mkdir(exist_ok=True)
    return unpack(file, file.parent / "out")


def _result(folder: Path) -> Path:
    content = {"settings": {"criterion": "Taylor"}, "rows": [{"file": "a.json"}], "run": {"arguments": {"crop": 0}}}
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json"


def _read_result(file: Path) -> object:
    from prune.cli.outputs import require_same_networks, require_same_settings, stored_result

    content = stored_result(file)
    require_same_settings(file, content and content.get("settings"), {"criterion": "Taylor"}, "--output")
    require_same_settings(file, content and content.get("run", {}).get("arguments"), {"crop": 0}, "--output")
    return require_same_networks(file.with_suffix(".xlsx"), [Path("a.json")])


def _config(folder: Path) -> Path:
    (folder / "last.pth").write_bytes(b"")
    (folder / "config.json").write_text(json.dumps({"model": "unet", "epochs": 3, "lr": 0.1, "amp": "off"}))
    return folder / "config.json"


def _settings(file: Path) -> object:
    from prune.training.settings import TrainSettings, stored_settings

    stored = stored_settings(file.parent)
    return TrainSettings(**{k: v for k, v in stored.items() if k in TrainSettings.__dataclass_fields__})


PLAN = """name = "a"
data = "data"
networks = ["deeplabv3_tiny"]
criteria = ["Taylor", {name = "balanced", importance_type = "Taylor", class_balance = true}]
ratios = [30, 60]
seeds = [0, 1]
[train]
epochs = 3
lr = 1e-3
"""
FORMATS: dict[str, Format] = {
    "photograph, PNG": Format(_photo("a.png"), _read_photo, repair=with_png_checksums),
    "photograph, JPEG": Format(_photo("a.jpg"), _read_photo),
    "photograph, TIFF": Format(_photo("a.tif", compression="tiff_lzw"), _read_photo),
    "photograph, GIF": Format(_photo("a.gif"), _read_photo),
    "photograph, WebP": Format(_photo("a.webp"), _read_photo),
    "photograph, BMP": Format(_photo("a.bmp"), _read_photo),
    "mask, PNG": Format(_photo("a.png", "L"), _read_mask, repair=with_png_checksums),
    "mask, palette": Format(_photo("a.png", "P"), _read_mask, repair=with_png_checksums),
    "probabilities, TIFF": Format(_float_tiff, _read_probability),
    "probabilities, NPY": Format(_npy, _read_probability),
    "CrackForest, MAT": Format(_mat, _read_mat),
    "CrackForest, SEG": Format(_seg, _read_seg),
    "evaluation, JSON": Format(_evaluation, _compare),
    "plan, TOML": Format(_text("a.toml", PLAN), _read_plan),
    "recipe": Format(_text("a.ini", "epochs = 3\nlr = 1e-3\nloss = ce_dice\n"), _read_recipe),
    "run, config.json": Format(_config, _settings),
    "study, study.json": Format(_study, _report),
    "earlier result, JSON": Format(_result, _read_result),
    "checkpoint, PTH": Format(_checkpoint, _load_checkpoint),
    "state dict, PTH": Format(_state_dict, _load_state_dict),
    "checkpoint, content": Format(_checkpoint_content, _load_checkpoint_content),
    "ONNX, metadata": Format(_metadata, _load_metadata, native=True),
    "ONNX, hand-made": Format(_hand_made, _predict, native=True),
    "ONNX": Format(_exported("onnx", "a.onnx"), _predict, native=True, repair=_unsealed),
    "OpenVINO, XML": Format(_exported("openvino", "a.xml"), _predict, native=True, repair=_unsealed),
    "OpenVINO, BIN": Format(_exported("openvino", "a.bin"), _predict, native=True),
    "ncnn, PARAM": Format(_exported("ncnn", "a.ncnn.param"), _predict, native=True, repair=_unsealed),
    "ncnn, BIN": Format(_exported("ncnn", "a.ncnn.bin"), _predict, native=True),
    "program, PT2": Format(_exported("pt2", "a.pt2"), _predict),
    "program, graph": Format(_graph, _run_graph, native=True),
    "photographs, ZIP": Format(_archive, _unpack),
    **SURVEY_FORMATS,
}

"""Files for the QGIS plugin Deepness, read back as its source does (see ``prune.deployment.deepness``)."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import prune
from prune.cli.export import ExportOptions, _output
from prune.cli.verbs import parse
from prune.data.labels import S2DS
from prune.data.preprocessing import Preprocessing
from prune.deployment.deepness import deepness_metadata, make_deepness
from prune.errors import UserError
from prune.models import build_model
from prune.models.checkpoint import Network


def tiny() -> Network:
    torch.manual_seed(0)
    return Network(build_model("deeplabv3_tiny", 7).eval(), "deeplabv3_tiny")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of one square size that gives logits."""
    file = tmp_path_factory.mktemp("plain") / "plain.onnx"
    return prune.export(tiny(), file, size=64, parity=False).file


@pytest.fixture
def qgis(plain: Path, tmp_path: Path) -> Path:
    """The same for the plugin."""
    file = Path(shutil.copy(plain, tmp_path / "qgis.onnx"))
    make_deepness(file, S2DS, tiny().preprocessing)
    return file


class Plugin:
    """What ``ModelBase`` and ``Segmentor`` of the plugin read from a file, and how they run it."""

    def __init__(self, file: Path) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        (self.input,), (self.output,) = self.session.get_inputs(), self.session.get_outputs()
        meta = self.session.get_modelmeta().custom_metadata_map
        self.model_type = str(json.loads(meta["model_type"])).capitalize()
        names = sorted(json.loads(meta["class_names"]).items(), key=lambda pair: int(pair[0]))
        assert [int(key) for key, _ in names] == list(range(len(names)))
        self.class_names = [name for _, name in names]
        self.resolution = float(json.loads(meta["resolution"])) if "resolution" in meta else None
        self.tile_size, self.overlap = int(json.loads(meta["tile_size"])), int(json.loads(meta["tiles_overlap"]))
        mean, std = ([float(x) for x in json.loads(meta[f"standardization_{name}"])] for name in ("mean", "std"))
        self.mean, self.std = np.array(mean, np.float32), np.array(std, np.float32)

    def process(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities (N, C, S, S) of tiles uint8 (N, S, S, 3 or 4)."""
        values = np.float32(tiles[:, :, :, : self.input.shape[-3]] * 1.0 / 255.0)
        batch = np.transpose((values - self.mean) / self.std, (0, 3, 1, 2))
        result: NDArray[np.float32] = self.session.run(None, {self.input.name: batch})[0]
        return result


def test_the_plugin_reads_and_runs_the_file(plain: Path, qgis: Path) -> None:
    plugin = Plugin(qgis)
    assert plugin.model_type == "Segmentor" and plugin.class_names == list(S2DS.classes)
    assert (plugin.tile_size, plugin.overlap, plugin.resolution) == (64, 25, None)
    assert plugin.input.shape[1:] == [3, 64, 64] and plugin.output.shape[1:] == [7, 64, 64]
    assert isinstance(plugin.input.shape[0], str)  # any batch
    tiles = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 4), dtype=np.uint8)
    found = plugin.process(tiles)
    assert found.sum(axis=1) == pytest.approx(np.ones((2, 64, 64)), abs=1e-5) and found.min() >= 0
    predictor = prune.load(plain).predictor
    for tile, probability in zip(tiles[:, :, :, :3], found, strict=True):
        logits = predictor.to_numpy(predictor.forward(np.ascontiguousarray(tile)))
        shares = np.exp(logits - logits.max(axis=0))
        assert probability == pytest.approx(shares / shares.sum(axis=0), abs=1e-4)


def test_this_project_reads_the_file_too(plain: Path, qgis: Path) -> None:
    image = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(prune.load(qgis).predict(image).class_map, prune.load(plain).predict(image).class_map)
    assert prune.inspect(qgis).output == "probabilities"


@pytest.mark.slow
def test_parity_is_checked_on_logits(data: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {"purpose": "deepness", "mm_per_pixel": 5, "parity_images": 2}
    result = prune.export(tiny(), tmp_path / "qgis.onnx", size=64, data=data, **how)
    assert result.parity is not None and result.parity.agreement > 0.999
    assert result.parity.max_logit_difference is not None and result.parity.max_logit_difference < 1e-3
    plugin = Plugin(result.file)
    assert (plugin.tile_size, plugin.resolution) == (64, 0.5)


def test_the_command_line_has_the_flag() -> None:
    options: Any = parse(ExportOptions, "", ["net", "--for", "deepness", "--size", "512", "--mm_per_pixel", "2"])
    assert (options.purpose, options.fixed_size, options.mm_per_pixel) == ("deepness", (512, 512), 2)
    assert _output(options, tiny()) == Path("results/exports/deeplabv3_tiny_deepness.onnx")


def test_metadata_are_json() -> None:
    found = deepness_metadata(S2DS, Preprocessing((0, 0, 0), (1, 1, 1)), 512, None)
    assert found["standardization_mean"] == "[0, 0, 0]" and found["tiles_size"] == found["tile_size"] == "512"
    assert json.loads(found["class_names"])["6"] == "Crack" and "resolution" not in found


@pytest.mark.parametrize(
    ("file", "how", "message"),
    [
        ("a.onnx", {}, "^for deepness: expected one square size, such as size 512, found any size"),
        ("a.onnx", {"size": (64, 96)}, "found 64 × 96 px"),
        ("a.onnx", {"size": 64, "argmax": True}, "^for deepness: expected probabilities in the file, found argmax"),
        ("a.pt2", {"size": 64}, "^for deepness: expected an ONNX file, found pt2"),
        ("a.onnx", {"purpose": "arcgis"}, "^for: expected one of deepness, found 'arcgis'"),
    ],
)
def test_files_it_cannot_use_are_refused(file: str, how: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        prune.export(tiny(), tmp_path / file, parity=False, **{"purpose": "deepness", **how})
    assert not list(tmp_path.iterdir())

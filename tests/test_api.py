"""The Python API as the README shows it: six lines from photographs to a file that finds cracks."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import prune
from tests.conftest import ROOT, refused

TINY = {"model": "deeplabv3_tiny", "crop_size": 64, "batch_size": 4, "workers": 0, "amp": "off", "classes": "crack"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api") / "data"
    prune.synthesize(folder, images=20, size=96)
    return folder


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_six_lines(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photograph = next((data / "test" / "Images").iterdir())
    printed = io.StringIO()
    with redirect_stdout(printed):
        dense = prune.train(data, epochs=1, **TINY)
        small = prune.prune(dense, ratio=50, importance="Taylor", data=data, crop_size=64, batches=2)
        tuned = prune.train(data, start=small, teacher=dense, epochs=1, **{**TINY, "model": None})
        scores = prune.evaluate(tuned, data / "test", latency_repeats=0)
        file = prune.export(
            tuned,
            "small.onnx",
            precision="int8",
            data=data,
            accept_unjudged=True,
            min_agreement=0,
            max_miou_drop=100,
            max_crack_drop=100,
        )
        found = prune.load(file).predict(photograph)
    assert printed.getvalue() == ""  # a library is silent
    assert everything_below(tmp_path) == {"small.onnx", "small.onnx.json"}  # and writes what it is told

    assert dense.checkpoint is None and len(dense.history) == 1
    parameters = [sum(p.numel() for p in result.model.module.parameters()) for result in (dense, small, tuned)]
    assert parameters[1] == parameters[2] < parameters[0]  # the dense network is left as it was
    assert scores.summary["miou"] is not None and "Crack" in str(scores)
    with Image.open(photograph) as image:
        size = image.size[::-1]
    assert found.class_map.shape == size and found.class_map.dtype == np.uint8
    probability = found.probability("crack")
    assert probability.shape == size and probability.dtype == np.float32
    assert probability.min() >= 0 and probability.max() <= 1
    assert found.overlay().shape == (*size, 3)
    measured = found.measure(mm_per_pixel=0.2)
    assert measured.length_mm == pytest.approx(0.2 * measured.length_px)
    mask = found.to_png(tmp_path / "mask.png")
    with Image.open(mask) as image:
        assert np.array_equal(np.asarray(image), found.class_map)


def test_importing_the_package_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, time; before = time.process_time(); import prune; spent = time.process_time() - before\n"
        "heavy = {'torch', 'numpy', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules); print(spent, sorted(heavy))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split(maxsplit=1)[1].strip() == "[]", done.stderr


def test_everything_public_is_there_and_documented() -> None:
    assert set(prune.__all__) <= set(dir(prune))
    for name in set(prune.__all__) - {"__version__"}:
        assert (getattr(prune, name).__doc__ or "").strip(), name
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = prune.trian


def test_misuse_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"train\(\) has no argument 'epoch', did you mean epochs"):
        prune.train(data, epoch=3)
    with pytest.raises(TypeError, match="epochs: expected int, found 'three'"):
        prune.train(data, epochs="three")
    with pytest.raises(prune.UserError, match="^epochs: expected at least 1, found 0"):
        prune.train(data, epochs=0)
    with pytest.raises(TypeError, match="expected a path"):
        prune.train(3.5)
    with refused("nowhere"):
        prune.train(tmp_path / "nowhere", epochs=1)
    with refused("expected a file"):
        prune.load(tmp_path / "none.pth")

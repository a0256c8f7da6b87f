"""Every network does what the commands expect of it: train, be pruned, saved, scored and exported, at any image size."""

import copy
import functools
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch_pruning
from torch import nn

from prune.cli import prune, train
from prune.data.dataset import Sample
from prune.data.labels import CRACK
from prune.deployment.export import export as write_export
from prune.deployment.target import ExportTarget
from prune.evaluation.evaluate import evaluate
from prune.files import visible
from prune.inference.load import load_predictor
from prune.inference.torch import TorchPredictor
from prune.models import (
    ARCHITECTURES,
    Architecture,
    all_logits,
    build_model,
    mode,
    output_layers,
    without_auxiliary,
)
from prune.models.checkpoint import Network, load_checkpoint, save_checkpoint
from prune.models.cost import count, shapes_of
from prune.models.encoders import PREFIX
from prune.models.freezing import freeze
from prune.models.summary import describe, layer_rows
from prune.models.unet import UNet
from prune.pruning.allocation import rounded
from prune.pruning.pruner import Hooks, PruneOutcome, prune_model
from prune.pruning.report import layer_widths
from prune.pruning.settings import PruneSettings
from prune.training.losses import make_loss
from prune.training.step import TrainingStep, batch_gradients
from tests.cli.test_commands import error_of
from tests.conftest import TENSORRT, refused

CPU = torch.device("cpu")
GENERATOR = torch.Generator().manual_seed(0)
BATCH = torch.randn(2, 3, 64, 64, generator=GENERATOR), torch.randint(0, 2, (2, 64, 64), generator=GENERATOR)
ODD = torch.randn(1, 3, 75, 90, generator=GENERATOR)
ROUND_TO = PruneSettings.round_to
QUICK = ("lraspp_mobilenet_v3_large", "hrsegnet_b16", "unet_efficientnet_lite0")
"""Small networks of different kinds; all others are tested in the slow run."""
NAMES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in ARCHITECTURES]
described = functools.cache(describe)
costs = functools.lru_cache(maxsize=4)(count)

Convolution = nn.Conv2d | nn.ConvTranspose2d


def need_package(name: str) -> None:
    """Skip when the network is another package's and that is not installed."""
    if name.startswith(PREFIX):
        pytest.importorskip("segmentation_models_pytorch")


def training_step(model: nn.Module) -> TrainingStep:
    return TrainingStep(model, make_loss("ce_dice"), CPU)


def fresh(name: str) -> nn.Module:
    """A network with the gradients of one training step and the batch-norm statistics of its batch."""
    need_package(name)
    torch.manual_seed(0)
    model = build_model(name, len(CRACK))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # Else features in evaluation mode grow from layer to layer, and no tolerance fits them.
    with mode(model, training=True):
        training_step(model)(BATCH).backward()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


def pruned_copy(model: nn.Module, criterion: str, p_value: int = 1) -> tuple[nn.Module, PruneOutcome]:
    """The network without half its channels, and what was removed."""
    smaller = copy.deepcopy(model)
    config = PruneSettings(importance_type=criterion, p_value=p_value)
    quarter = BATCH[0][..., :32, :32], BATCH[1][..., :32, :32]
    gradients = functools.partial(batch_gradients, training_step(smaller), [quarter])
    return smaller, prune_model(smaller, config, Hooks(gradients))


def convolutions(model: nn.Module) -> dict[str, Convolution]:
    return {name: m for name, m in model.named_modules() if isinstance(m, Convolution)}


def out_first(layer: Convolution) -> torch.Tensor:
    """A view of the weights (out, in, …)."""
    weight = layer.weight.detach()
    return weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight


def logits(model: nn.Module, images: torch.Tensor = ODD) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return dict(all_logits(model, images))


def assert_equal_logits(first: nn.Module, second: nn.Module) -> None:
    expected = logits(first)
    assert {k: v.shape for k, v in logits(second).items()} == {k: v.shape for k, v in expected.items()}
    assert all(torch.equal(expected[name], output) for name, output in logits(second).items())


def assert_equal_weights(first: nn.Module, second: nn.Module) -> None:
    expected, found = first.state_dict(), second.state_dict()
    assert list(found) == list(expected) and all(torch.equal(expected[name], found[name]) for name in found)


def assert_halved(dense: nn.Module, smaller: nn.Module) -> None:
    """Every convolution lost half its outputs and some inputs, except where the reason not to is spelled out here."""
    outputs, layers = output_layers(smaller), convolutions(smaller)
    for name, before in convolutions(dense).items():
        after = layers[name]
        # Rounding keeps widths up to 8 as they are, and with them the one attention map of a gate.
        half = rounded(before.out_channels / 2, ROUND_TO, before.out_channels)
        assert after.out_channels == (len(CRACK) if after in outputs else half), name
        stays = before.in_channels <= ROUND_TO  # the three colors, and what such a narrow layer makes
        assert after.in_channels == before.in_channels if stays else after.in_channels < before.in_channels, name
    assert [layer.out_channels for layer in outputs] == [len(CRACK)] * len(outputs)
    assert {name: tuple(o.shape) for name, o in logits(smaller).items()} == {
        name: (1, len(CRACK), 75, 90) for name in logits(dense)
    }
    (parameters, macs), (all_parameters, all_macs) = costs(smaller, (64, 64)), costs(dense, (64, 64))
    assert 0.65 <= 1 - macs / all_macs <= 0.80 and 0.65 <= 1 - parameters / all_parameters <= 0.80


def assert_runtimes_agree(model: nn.Module, name: str, folder: Path) -> None:
    """At a size it was not traced at, a network of ONNX Runtime and OpenVINO is as exact as PyTorch's; TensorRT knows it.

    Of ncnn at the size it was made for: the U-Nets' padding has to be known to its converter.
    Round-off grows with depth, so what PyTorch's float32 logits lack to those in float64 sets the scale.
    """
    expected = logits(copy.deepcopy(model).double(), ODD.double())["out"].numpy()
    rounding = np.abs(logits(model)["out"].numpy() - expected).max()
    file = write_export(Network(model, name, CRACK), ExportTarget("onnx"), folder / "network.onnx")
    assert {node.op_type for node in onnx.load(str(file)).graph.node} <= TENSORRT
    with pytest.MonkeyPatch.context() as patch:
        # OpenVINO starts from the same ONNX file, and tracing is what takes the time.
        patch.setattr("prune.deployment.onnx.write_onnx", lambda network, target, copied: shutil.copy(file, copied))
        write_export(Network(model, name, CRACK), ExportTarget("openvino"), folder / "network.xml")
    write_export(
        Network(model, name, CRACK), ExportTarget("ncnn", size=tuple(ODD.shape[2:])), folder / "network.ncnn.param"
    )
    for runtime in ("onnx", "xml", "ncnn.param"):
        found = load_predictor(folder / f"network.{runtime}", threads=1).run(ODD.numpy())
        assert found.shape == expected.shape, runtime
        assert np.abs(found - expected).max() < 1e-4 + 5 * rounding, runtime


class TestEveryNetwork:
    """One network after the other; fixtures live as long as one of them."""

    @pytest.fixture(scope="class", params=NAMES)
    def name(self, request: pytest.FixtureRequest) -> str:
        return request.param

    @pytest.fixture(scope="class")
    def dense(self, name: str) -> nn.Module:
        """Do not change it."""
        return fresh(name)

    @pytest.fixture(scope="class")
    def smaller(self, dense: nn.Module) -> tuple[nn.Module, PruneOutcome]:
        """Pruned by magnitude, and what was removed; do not change it."""
        return pruned_copy(dense, "Magnitude")

    def test_every_head_gives_logits_at_the_size_of_the_image(self, name: str, dense: nn.Module) -> None:
        found = logits(dense)
        assert "out" in found and (len(found) > 1) == described(name, len(CRACK))["auxiliary"]
        assert [tuple(v.shape) for v in found.values()] == [(1, len(CRACK), 75, 90)] * len(found)
        with without_auxiliary(dense) as inference:
            found = logits(inference, ODD[..., :33, :40])
        assert {k: tuple(v.shape) for k, v in found.items()} == {"out": (1, len(CRACK), 33, 40)}

    def test_a_training_step_reaches_every_parameter(self, dense: nn.Module) -> None:
        """What the forward pass forgot has no gradient, what it multiplies by nothing has one that is zero."""
        for name, parameter in dense.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name

    def test_pruning_by_magnitude_halves_every_layer(
        self, dense: nn.Module, smaller: tuple[nn.Module, PruneOutcome]
    ) -> None:
        assert_halved(dense, smaller[0])

    @pytest.mark.parametrize(
        ("criterion", "p_value"),
        [("Taylor", 1), *(pytest.param(*other, marks=pytest.mark.slow) for other in (("Magnitude", 2), ("Random", 1)))],
    )
    def test_the_other_criteria_remove_as_many_channels(
        self, dense: nn.Module, smaller: tuple[nn.Module, PruneOutcome], criterion: str, p_value: int
    ) -> None:
        model, outcome = pruned_copy(dense, criterion, p_value)
        assert layer_widths(model) == layer_widths(smaller[0])
        assert outcome.removed_outputs != smaller[1].removed_outputs  # but not the same ones
        assert all(tensor.isfinite().all() for tensor in logits(model).values())

    def test_pruned_equals_dense_with_the_removed_channels_silenced(
        self, dense: nn.Module, smaller: tuple[nn.Module, PruneOutcome]
    ) -> None:
        model, outcome = smaller
        silenced = copy.deepcopy(dense)
        layers = convolutions(silenced)
        for name, steps in outcome.removed_inputs.items():
            out_first(layers[name])[:, steps[0]] = 0
        expected = logits(silenced)
        for head, output in logits(model).items():
            assert output.std() > 1e-3, head  # Else any two networks would agree.
            assert torch.allclose(output, expected[head], atol=1e-4, rtol=1e-4), head

    def test_the_kept_weights_are_the_dense_ones(
        self, dense: nn.Module, smaller: tuple[nn.Module, PruneOutcome]
    ) -> None:
        model, outcome = smaller
        layers = convolutions(model)
        for name, before in convolutions(dense).items():
            kept = out_first(before)
            for axis, record in enumerate((outcome.removed_outputs, outcome.removed_inputs)):
                gone = set(record.get(name, [[]])[0])
                kept = kept.index_select(axis, torch.tensor([i for i in range(kept.shape[axis]) if i not in gone]))
            assert torch.equal(out_first(layers[name]), kept), name

    def test_dense_and_pruned_survive_saving_bit_equal(
        self, name: str, dense: nn.Module, smaller: tuple[nn.Module, PruneOutcome], tmp_path: Path
    ) -> None:
        for model in (dense, smaller[0]):
            loaded = load_checkpoint(save_checkpoint(Network(model, name, CRACK), tmp_path / "a.pth"))
            assert (loaded.architecture, loaded.classes) == (name, CRACK)
            assert_equal_weights(model, loaded.model)
        assert_equal_logits(smaller[0], loaded.model)

    def test_scoring_counts_the_class_maps_of_the_logits(
        self, name: str, smaller: tuple[nn.Module, PruneOutcome]
    ) -> None:
        rng = np.random.default_rng(0)
        photos = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((64, 64), (33, 70))]
        labels = [torch.from_numpy(rng.integers(0, 2, photo.shape[:2])) for photo in photos]
        samples = [Sample("a", torch.from_numpy(p).permute(2, 0, 1), y) for p, y in zip(photos, labels, strict=True)]
        network = Network(copy.deepcopy(smaller[0]), name, CRACK)
        result = evaluate(TorchPredictor(network, CPU, channels_last=False), samples, 2)
        for image, photo, label in zip(result.images, photos, labels, strict=True):
            normalized = torch.from_numpy(network.preprocessing.normalize(photo))
            class_map = logits(network.model, normalized)["out"][0].argmax(0)
            expected = [[int(((label == i) & (class_map == j)).sum()) for j in (0, 1)] for i in (0, 1)]
            assert image.matrix.tolist() == expected

    def test_a_frozen_backbone_leaves_everything_else_to_learn(self, dense: nn.Module) -> None:
        model = shapes_of(dense)
        freeze(model.get_submodule("backbone"))
        model.train()
        learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert learning == {n for n, _ in model.named_parameters() if n.split(".")[0] != "backbone"}
        assert {name.split(".")[0] for name in learning} <= {"classifier", "decoder", "aux_classifier"} and learning
        assert not any(m.training for m in model.get_submodule("backbone").modules())
        assert all(m.training for m in model.get_submodule("classifier").modules())

    def test_the_layers_add_up_to_the_whole(self, dense: nn.Module, smaller: tuple[nn.Module, PruneOutcome]) -> None:
        for model, size in ((dense, (64, 64)), (smaller[0], (75, 90))):
            rows = layer_rows(model, size)
            assert (sum(r.parameters for r in rows), sum(r.macs for r in rows)) == costs(model, size)

    @pytest.mark.slow
    def test_dense_and_pruned_run_alike_on_other_runtimes(
        self, name: str, dense: nn.Module, smaller: tuple[nn.Module, PruneOutcome], tmp_path: Path
    ) -> None:
        for model in (dense, smaller[0]):
            assert_runtimes_agree(model, name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hrsegnet_b16", "unet"])
def test_a_pruned_network_runs_alike_on_other_runtimes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for every network above, but quickly: U-Net is a narrow one here."""
    narrow = Architecture(lambda classes, auxiliary: UNet(classes, widths=(16, 32, 64)), "", 64, "backbone")
    monkeypatch.setitem(ARCHITECTURES, "unet", narrow)
    assert_runtimes_agree(pruned_copy(fresh(name), "Magnitude")[0], name, tmp_path)


@pytest.mark.slow
def test_an_hrsegnet_in_int8_stays_close(tmp_path: Path) -> None:
    model = pruned_copy(fresh("hrsegnet_b16"), "Magnitude")[0]
    batches = [image[None].numpy() for image in BATCH[0]]
    target = ExportTarget("onnx", "int8")
    file = write_export(Network(model, "hrsegnet_b16", CRACK), target, tmp_path / "a.onnx", batches=batches)
    found, expected = load_predictor(file, threads=1).run(batches[0]), logits(model, BATCH[0][:1])["out"].numpy()
    assert found.shape == expected.shape and np.abs(found - expected).mean() < 0.1 * expected.std()


@pytest.mark.parametrize("state", [pytest.param("dense", marks=pytest.mark.slow), "pruned"])
@pytest.mark.parametrize(
    "name", ["hrsegnet_b16", pytest.param("unet", marks=pytest.mark.slow), "lraspp_mobilenet_v3_large"]
)
def test_a_bare_state_dict_is_recognized(name: str, state: str, tmp_path: Path) -> None:
    model = build_model(name, len(CRACK)).eval()
    if state == "pruned":
        prune_model(model, PruneSettings(importance_type="Random"))
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    loaded = load_checkpoint(tmp_path / "bare.pth")
    assert (loaded.architecture, loaded.classes) == (name, CRACK)
    assert_equal_logits(model, loaded.model)


def counted_elsewhere(name: str) -> tuple[float, float]:
    """Parameters in millions and operations in billions at the size of our recipe, by the counter its authors used.

    It counts batch norm and activations too, and transposed convolutions per output pixel.
    """
    side = ARCHITECTURES[name].size
    with torch.device("meta"):
        model = build_model(name, len(CRACK)).eval()
        image = torch.empty(1, 3, side, side)
    with without_auxiliary(model) as inference, torch.no_grad():
        macs, parameters = torch_pruning.utils.count_ops_and_params(inference, image)
    return parameters / 1e6, macs / 1e9


PUBLISHED = {
    "hrsegnet_b16": (0.605, 0.639),
    "hrsegnet_b32": (2.414, 2.506),
    "hrsegnet_b48": (5.426, 5.601),
    "unet": (31.04, None),
    "attention_unet": (34.87, None),
}
"""Parameters in millions, and MACs in billions where the literature counts at the size of our recipe."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_written_here_are_as_large_as_the_published_ones(name: str) -> None:
    (parameters, macs), found = PUBLISHED[name], counted_elsewhere(name)
    assert found[0] == pytest.approx(parameters, rel=0.02)
    assert described(name, len(CRACK))["params"] / 1e6 == pytest.approx(parameters, rel=0.02)
    if macs is not None:
        assert found[1] == pytest.approx(macs, rel=0.02)


def test_an_unknown_network_suggests_the_nearest() -> None:
    pytest.importorskip("segmentation_models_pytorch")
    with refused(r"unknown network 'hrsegnet_16', did you mean hrsegnet_b16\?") as caught:
        build_model("hrsegnet_16", 2)
    assert "\n" not in caught.value.message and all(name in caught.value.message for name in ARCHITECTURES)
    with refused(r"unknown network 'unet_resnet43', did you mean unet_resnet34\?"):
        build_model("unet_resnet43", 2)
    with refused("unknown network 'xyz', expected one of deeplabv3_resnet101"):
        build_model("xyz", 2)


def test_encoders_beyond_the_listed_make_a_unet_that_can_be_pruned_and_saved(tmp_path: Path) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    dense = fresh("unet_mobilenet_v2")
    model = pruned_copy(dense, "Magnitude")[0]
    assert costs(model, (64, 64))[1] < 0.35 * costs(dense, (64, 64))[1]
    loaded = load_checkpoint(save_checkpoint(Network(model, "unet_mobilenet_v2", CRACK), tmp_path / "a.pth"))
    assert loaded.architecture == "unet_mobilenet_v2"
    assert_equal_logits(model, loaded.model)


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    for name in ("unet_resnet34", "unet_mobilenet_v2"):
        with refused(r"not installed: pip install prune-crackseg\[encoders\]"):
            build_model(name, 2)
    assert build_model("hrsegnet_b16", 2)


def test_another_network_than_the_one_asked_for_is_refused(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save_checkpoint(
        Network(build_model("hrsegnet_b16", 2), "hrsegnet_b16", CRACK), Path("results/models/hr.pth")
    )
    fine_tune: Callable[[list[str]], Any] = train.main
    misfit = "hr.pth: expected a checkpoint of unet (--model), found one of hrsegnet_b16"
    words: list[object] = [data / "train", data / "val", "tuned", "--model", "unet"]
    assert misfit in error_of(fine_tune, [*words, "--pruned_model", file], capsys)
    said = error_of(fine_tune, [*words, "--load_pretrained_weights", file], capsys)
    assert "hr.pth: 0 of the " in said and "tensors of unet fit" in said and "another network (--model)" in said
    for named in (["--state_dict", file], []):
        assert misfit in error_of(prune.main, ["--model", "unet", "--data_dir", data, *named], capsys)
    assert visible(Path("results/models"), "*") == [file]

"""Seg-Grad-CAM and probability maps: exact on a network made by hand, and as pictures by the command."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from prune.api.views import chosen_class
from prune.cli import inference, score
from prune.cli.inference import InferenceOptions
from prune.cli.verbs import parse
from prune.data.labels import CRACK, S2DS, ClassSet
from prune.data.preprocessing import Preprocessing
from prune.deployment.export import export as write_export
from prune.deployment.target import ExportTarget
from prune.inference import gradcam
from prune.inference import predictor as predict
from prune.inference.gradcam import ASKED, cam_layer, class_heat, pixel_set, seg_grad_cam, shrink
from prune.inference.probability import class_probability, softmax
from prune.inference.torch import TorchPredictor
from prune.models import build_model
from prune.models.checkpoint import Network, load_checkpoint
from prune.options import check, option
from tests.cli.test_commands import error_of, tiny_model
from tests.conftest import ROOT, refused

RNG = np.random.default_rng(0)
RED = np.array([[0, 1, 3], [2, 0, 1]], np.float32)
GREEN = np.array([[4, 0, 1], [1, 1, 6]], np.float32)


class Hand(nn.Module):
    """Feature maps: the mean of red and of green over 2x2 px; logits: 1 for background, 2 red - green for crack."""

    def __init__(self) -> None:
        super().__init__()
        mean = nn.Conv2d(3, 2, 2, stride=2, bias=False)
        self.features = nn.Sequential(mean, nn.ReLU(inplace=True))
        self.norm = nn.BatchNorm2d(2, eps=0, affine=False)
        self.classifier = nn.Conv2d(2, 2, 1)
        self.aux_classifier: nn.Module | None = nn.Conv2d(2, 2, 1)
        self.unused = nn.Conv2d(2, 2, 1)
        self.broken = False
        with torch.no_grad():
            mean.weight.zero_()
            mean.weight[0, 0] = mean.weight[1, 1] = 0.25
            self.classifier.weight.copy_(torch.tensor([[0.0, 0.0], [2.0, -1.0]])[..., None, None])
            self.classifier.bias = nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.classifier(self.norm(self.features(images)))
        if self.broken:
            raise RuntimeError("out of memory")
        self.unused(logits)
        return {"out": F.interpolate(logits, size=images.shape[-2:]), "pooled": logits.mean((2, 3))}


def hand_image() -> torch.Tensor:
    """float32 (1, 3, 4, 6): every value of RED and GREEN fills 2x2 px."""
    channels = [RED, GREEN, np.zeros_like(RED)]
    return torch.from_numpy(np.stack(channels).repeat(2, axis=1).repeat(2, axis=2))[None]


def hand_heat(before_relu: bool = False) -> np.ndarray:
    """By hand: crack where 2 red - green > 1, that is in 3 of 6 cells of 4 px, each of whose logits has the slope 2, -1.

    In one of the three green is 0: before the ReLU the slope is 0 there.
    """
    crack = 2 * RED - GREEN > 1
    assert crack.sum() == 3 and (GREEN[crack] == 0).sum() == 1
    alphas = 2 * 4 * 3 / 6, -1 * 4 * (2 if before_relu else 3) / 6
    return np.maximum(alphas[0] * RED + alphas[1] * GREEN, 0)


def predictor(model: nn.Module, classes: ClassSet = CRACK) -> TorchPredictor:
    raw = Preprocessing((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))
    return TorchPredictor(Network(model, "deeplabv3_tiny", classes, raw), torch.device("cpu"))


@pytest.mark.parametrize("layer", ["features", "features.0", "features.1"])
def test_the_heat_map_of_a_network_made_by_hand(layer: str) -> None:
    found = seg_grad_cam(Hand(), hand_image(), 1, layer)
    assert np.allclose(found.heat.numpy(), hand_heat(layer == "features.0"), atol=1e-5) and found.predicted
    assert (found.class_map.numpy() == (2 * RED - GREEN > 1).repeat(2, 0).repeat(2, 1)).all()


def test_the_heat_of_a_photograph_has_its_size_and_the_maximum_one() -> None:
    image = hand_image()[0].permute(1, 2, 0).numpy().astype(np.uint8)
    found = class_heat(predictor(Hand()), image, 1, "features")
    raw = torch.from_numpy(hand_heat())[None, None]
    resized = F.interpolate(raw, size=(4, 6), mode="bilinear", align_corners=False)[0, 0].numpy()
    assert found.heat.dtype == np.float32 and np.allclose(found.heat, resized / resized.max(), atol=1e-5)
    assert found.class_map.dtype == np.uint8 and found.heat.max() == 1


def test_without_positive_evidence_the_heat_is_zero() -> None:
    model = Hand()
    nn.init.constant_(model.classifier.weight, -1)
    found = class_heat(predictor(model), np.full((5, 7, 3), 9, np.uint8), 1, "features")
    assert found.heat.shape == (5, 7) and not found.heat.any() and not found.predicted


def plain_cam(model: nn.Module, image: torch.Tensor, class_id: int, layer: str) -> torch.Tensor:
    """The definition written out: gradients through the whole network, kept at the layer."""
    kept: list[torch.Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.append(o))
    logits = model(image)["out"][0]
    handle.remove()
    kept[0].retain_grad()
    logits[class_id][logits.argmax(0) == class_id].sum().backward()
    assert kept[0].grad is not None
    alphas = [kept[0].grad[0, k].mean() for k in range(kept[0].shape[1])]
    return sum((alpha * kept[0][0, k] for k, alpha in enumerate(alphas)), torch.zeros(())).clamp(min=0).detach()


@pytest.mark.parametrize("layer", ["backbone.layer1", "backbone.layer4", "classifier.1"])
def test_parity_with_the_definition_on_a_real_network(layer: str) -> None:
    torch.manual_seed(0)
    model, image = build_model("deeplabv3_tiny", 7).eval(), torch.randn(1, 3, 41, 67)
    class_id = int(model(image)["out"][0].argmax(0).mode().values.mode().values)
    found = seg_grad_cam(model, image, class_id, layer)
    assert torch.allclose(found.heat, plain_cam(model, image, class_id, layer), atol=1e-5, rtol=1e-3)
    assert seg_grad_cam(model, image, class_id, "backbone.layer4.0.bn3").predicted  # added to in place


def state(model: nn.Module) -> tuple[object, ...]:
    about = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    parameters = [(p.requires_grad, p.grad is None, p.sum().item()) for p in model.parameters()]
    return about, parameters, {k: v.sum().item() for k, v in model.state_dict().items()}, torch.is_grad_enabled()


@pytest.mark.parametrize("layer", ["features", "unused", "nothing run", "broken"])
def test_the_network_is_left_as_it_was_even_when_it_fails(layer: str) -> None:
    model = Hand().train()
    model.norm.eval()
    model.features.requires_grad_(False)
    model.idle = nn.Conv2d(1, 1, 1)
    before, head = state(model), model.aux_classifier
    if layer == "features":
        seg_grad_cam(model, hand_image(), 1, layer)
    elif layer == "broken":
        model.broken = True
        with pytest.raises(RuntimeError, match="out of memory"):
            seg_grad_cam(model, hand_image(), 1, "features")
    else:
        layer = "idle" if layer == "nothing run" else layer
        with refused(f"--layer: expected one the prediction depends on; .* output of {layer}"):
            seg_grad_cam(model, hand_image(), 1, layer)
    assert state(model) == before and model.aux_classifier is head


def test_where_the_class_is_not_predicted_its_most_probable_pixels_are_asked() -> None:
    logits = torch.zeros(2, 15, 20)
    logits[0] = 5
    spots = [(0, 19), (7, 3), (14, 0)]
    for row, column in spots:
        logits[1, row, column] = 4
    logits[:, 3, 3] = torch.tensor([50.0, 45.0])  # a high logit, but a low probability
    asked, predicted = pixel_set(logits, 1)
    assert not predicted and sorted(map(tuple, asked.nonzero().tolist())) == spots and ASKED == 100
    logits[1, 2, 2] = 6
    asked, predicted = pixel_set(logits, 1)
    assert predicted and asked.nonzero().tolist() == [[2, 2]]
    assert pixel_set(torch.tensor([[[1.0]], [[0.0]]]), 1)[0].tolist() == [[True]]


def test_layers_are_named_and_must_give_feature_maps() -> None:
    network = predictor(build_model("deeplabv3_tiny", 2))
    assert cam_layer(network) == "backbone.layer4" and cam_layer(network, "classifier") == "classifier"
    message = "--layer: expected a module such as backbone.layer4.*; deeplabv3_tiny has no 'backbone.layr4'"
    with refused(message):
        cam_layer(network, "backbone.layr4")
    for name in ("aux_classifier.0", "", "x"):
        with refused(f"has no '{name}'"):
            cam_layer(network, name)
    with refused("expected one that gives feature maps .*, backbone gives OrderedDict"):
        seg_grad_cam(network.network.model, torch.zeros(1, 3, 64, 64), 1, "backbone")


def test_large_photographs_are_shrunk_and_small_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shrink(np.zeros((2049, 999, 3), np.uint8)).shape == (1024, 499, 3)
    assert shrink(np.zeros((3, 5000, 3), np.uint8)).shape == (1, 1024, 3)
    image = RNG.integers(0, 256, (33, 47, 3), dtype=np.uint8)
    assert shrink(image) is image
    monkeypatch.setattr(gradcam, "shrink", lambda image: shrink(image, 20))
    found = class_heat(predictor(build_model("deeplabv3_tiny", 2)), image, 1, "backbone.layer4")
    assert found.heat.shape == (33, 47) and found.class_map.shape == (14, 20)


def test_probability_is_the_softmax_and_tiles_agree_with_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Hand()
    image = RNG.integers(0, 3, (100, 130, 3), dtype=np.uint8)
    whole = class_probability(predictor(model), image, 1)
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(image).permute(2, 0, 1)[None].float())["out"][0]
    assert np.allclose(whole.probability, logits.softmax(0)[1].numpy(), atol=1e-5)
    assert whole.probability.dtype == np.float32 and (whole.class_map == logits.argmax(0).numpy()).all()
    monkeypatch.setattr(predict, "WHOLE_SIDE", 64)
    monkeypatch.setattr(predict, "TILE", 40)
    tiled = class_probability(predictor(model), image, 1)  # this network sees 2x2 px: tiles change nothing
    assert np.allclose(tiled.probability, whole.probability, atol=1e-5)


def test_softmax_survives_huge_logits() -> None:
    logits = np.array([[[1e4, -1e4]], [[1e4, 1e4]]], np.float32)
    assert softmax(logits).tolist() == [[[0.5, 0]], [[0.5, 1]]] and logits.max() == 1e4


def test_the_class_is_crack_unless_another_is_named() -> None:
    other = ClassSet("other", ("none", "rust", "moss"), ((0, 0, 0),) * 3)
    assert [chosen_class(c, None) for c in (S2DS, CRACK, other)] == [6, 1, 1]
    assert chosen_class(S2DS, "corrosion") == 4 and chosen_class(CRACK, "background") == 0
    with refused("--class: expected one of none, rust, moss, found 'crack'"):
        chosen_class(other, "crack")
    assert parse(InferenceOptions, "", ["--class", "Corrosion"]).class_name == "Corrosion"


def test_a_flag_of_another_name_is_named_as_typed() -> None:
    @dataclass
    class Config:
        class_name: str = option("a", "", choices=("a", "b"), flag="class")
        amount: int = option(1, "", low=1, flag="n")

    assert parse(Config, "", ["--class=b", "--n", "2"]) == Config("b", 2)
    for config in (lambda: Config("c"), lambda: Config(amount=0)):
        with refused("^--(class: expected one of a, b|n: expected at least 1), found"):
            check(config())


@pytest.fixture
def photos(here: Path) -> Path:
    """A folder of two photographs of odd sizes, beside a tiny network."""
    tiny_model()
    folder = here / "photos"
    folder.mkdir()
    for name, shape in (("a.jpg", (41, 90, 3)), ("b.png", (77, 35, 3))):
        Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    return folder


@pytest.mark.parametrize("mode", ["gradcam", "probability"])
def test_pictures_by_command(photos: Path, capsys: pytest.CaptureFixture[str], mode: str) -> None:
    words = ["--image", str(photos), "--mode", mode, "--save_figure", "--output_dir", "out", "--class", "corrosion"]
    inference.main([*words, "--layer", "classifier.1"] if mode == "gradcam" else words)
    said = capsys.readouterr().out
    layer = ", layer classifier.1" if mode == "gradcam" else ""
    assert "2 image(s): " in said and f"{mode}  class Corrosion{layer}: gray = 0" in said
    ends = [""] if mode == "gradcam" else ["", "_gray"]
    assert f"{2 * len(ends)} file(s) in out, first a_{mode}.png" in said
    for stem, size in (("a", (90, 41)), ("b", (35, 77))):
        assert [Image.open(f"out/{stem}_{mode}{end}.png").size for end in ends] == [size] * len(ends)
    assert len(list(Path("out").iterdir())) == 2 * len(ends)


def test_gray_levels_are_the_probability_and_score_reads_them(photos: Path) -> None:
    words = ["--image", str(photos), "--save_figure", "--output_dir"]
    inference.main([*words, "p", "--mode", "probability"])
    network = TorchPredictor(load_checkpoint(Path("results/models/tiny.pth")), torch.device("cpu"))
    image = np.array(Image.open(photos / "b.png"))
    expected = network.forward(image).softmax(0)[6].numpy()
    levels = Image.open("p/b_probability_gray.png")
    assert levels.mode == "L" and np.abs(np.asarray(levels) - 255 * expected).max() <= 0.501
    inference.main([*words, "masks", "--mode", "save_mask"])
    Path("labels").mkdir()
    for stem in "ab":
        Image.fromarray((np.asarray(Image.open(f"p/{stem}_probability_gray.png")) > 30).astype(np.uint8) * 6).save(
            f"labels/{stem}.png"
        )
    score.main(["masks", "labels", "--probabilities", "p", "--output", "out.xlsx", "--workers", "0"])
    assert Path("out_reliability.png").exists()


def test_a_class_that_is_predicted_nowhere_is_named(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = TorchPredictor(load_checkpoint(Path("results/models/tiny.pth")), torch.device("cpu"))
    found = {name for file in photos.iterdir() for name in np.unique(network.class_map(np.array(Image.open(file))))}
    absent = next(i for i in range(7) if i not in found)
    words = ["--image", str(photos), "--mode", "gradcam", "--save_figure", "--class", S2DS.classes[absent]]
    inference.main(words)
    said = capsys.readouterr().out
    assert f"{S2DS.classes[absent]} is predicted nowhere in a.jpg, b.png (2 of 2): the heat is that of the 1%" in said


def test_mistakes(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def error(*words: object) -> str:
        return error_of(inference.main, ["--image", photos, "--save_figure", *words], capsys)

    listed = "--class: expected one of Background, Control Point, Vegetation"
    for mode in ("gradcam", "probability", "overlay"):
        assert listed in error("--mode", mode, "--class", "rust")
    assert "such as backbone.layer4" in error("--mode", "gradcam", "--layer", "backbone.layer44")
    assert "--layer: expected one that gives feature maps" in error("--mode", "gradcam", "--layer", "backbone")
    assert not list(Path("results/figures").iterdir())


def one_layer() -> Network:
    """Exported in a moment."""
    torch.manual_seed(0)
    return Network(nn.Conv2d(3, len(S2DS), 3, padding=1), "one layer")


@pytest.mark.parametrize(("size", "runtime"), [(None, "onnx"), ((64, 96), "onnx"), (None, "pt2")])
def test_exports_with_the_class_map_inside_have_no_probabilities(
    photos: Path, capsys: pytest.CaptureFixture[str], size: tuple[int, int] | None, runtime: str
) -> None:
    file = write_export(one_layer(), ExportTarget(runtime, size=size, argmax=True), photos.parent / f"a.{runtime}")
    words = ["--state_dict", file, "--image", photos, "--save_figure", "--mode"]
    assert "found class ids or probabilities made inside" in error_of(inference.main, [*words, "probability"], capsys)
    message = f"a.{runtime}: expected a checkpoint (.pth): gradients are not in an export"
    assert message in error_of(inference.main, [*words, "gradcam"], capsys)


def test_an_export_gives_the_probabilities_of_the_network_without_pytorch(photos: Path) -> None:
    network = one_layer()
    write_export(network, ExportTarget("onnx"), photos.parent / "a.onnx")
    words = ["--image", str(photos), "--mode", "probability", "--save_figure", "--output_dir", "box"]
    Path("box.py").write_text(
        "import runpy, sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'torchvision', 'scipy', 'matplotlib', 'tqdm']))\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        f"runpy.run_path({str(ROOT / 'inference.py')!r}, run_name='__main__')\n"
    )
    command = [sys.executable, "box.py", "--state_dict", "a.onnx", *words]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "2 image(s)" in finished.stdout and "probability  class Crack" in finished.stdout
    for file in photos.iterdir():
        found = np.asarray(Image.open(f"box/{file.stem}_probability_gray.png"))
        reference = TorchPredictor(network, torch.device("cpu"))
        expected = class_probability(reference, np.array(Image.open(file)), 6).probability
        assert np.abs(found - 255 * expected).max() <= 0.6

"""Networks this project does not know: their output layers, their checkpoints, and what is refused."""

import functools
import sys
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import segmentation

from prune.data.labels import CRACK, S2DS, ClassSet
from prune.models import all_logits, build_model, mode, output_layers, without_auxiliary
from prune.models.checkpoint import Network, load_checkpoint, save_checkpoint
from prune.models.factory import Factory
from prune.models.foreign import network_of_module
from prune.pruning.pruner import prune_model
from prune.pruning.report import layer_widths
from prune.pruning.settings import PruneSettings
from tests.conftest import refused

IMAGES = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
HALF = PruneSettings(importance_type="Magnitude", pruning_ratio=50, round_to=1)
FPN = {"encoder_name": "resnet18", "encoder_weights": None, "classes": 3}


class Own(nn.Module):
    """A bare tensor out of names nobody else uses: two branches are summed after resizing, behind a sigmoid gate."""

    def __init__(self, width: int = 12, classes: int = 2) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.second = nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.GroupNorm(1, 2 * width), nn.PReLU())
        self.unrelated = nn.Conv2d(width, width, 1)
        self.fine = nn.Conv2d(width, classes, 1)
        self.coarse = nn.Conv2d(2 * width, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.unrelated(self.first(images))
        coarse = F.interpolate(self.coarse(self.second(features)), size=images.shape[-2:], mode="bilinear")
        return (self.fine(features) + coarse).relu_().contiguous()


class Normalized(nn.Module):
    """Group normalization in four blocks of three channels."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 12, 1), nn.GroupNorm(4, 12))
        self.head = nn.Conv2d(12, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images))


class Auxiliary(Own):
    """The same with a second head in a dict, under names that mean nothing here."""

    def forward(self, images: torch.Tensor) -> Any:
        features = self.first(images)
        return {"extra": self.coarse(self.second(features)), "out": self.fine(self.unrelated(features))}


def build_own(width: int = 12, classes: int = 2) -> nn.Module:
    """What checkpoints of these tests name."""
    return Own(width, classes)


def names(model: nn.Module) -> list[str]:
    found = output_layers(model)
    return sorted(name for name, module in model.named_modules() if any(module is layer for layer in found))


def logits(model: nn.Module, images: torch.Tensor = IMAGES) -> torch.Tensor:
    with torch.no_grad(), mode(model, training=False):
        return all_logits(model, images)["out"]


def test_output_layers_are_found_by_what_they_give() -> None:
    assert names(Own()) == ["coarse", "fine"]
    assert [layer.out_channels for layer in output_layers(Auxiliary())] == [2, 2]
    assert output_layers(model := Auxiliary())[0] is model.fine  # out comes first
    assert names(smp.FPN(**FPN)) == ["segmentation_head.0"]
    assert names(smp.Linknet("resnet18", encoder_weights=None, classes=2)) == ["segmentation_head.0"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("deeplabv3_tiny", ["aux_classifier.4", "classifier.4"]),
        ("hrsegnet_b16", ["aux_classifier.0.1", "aux_classifier.1.1", "classifier.5"]),
        ("lraspp_mobilenet_v3_large", ["classifier.high_classifier", "classifier.low_classifier"]),
    ],
)
def test_output_layers_of_known_networks(name: str, expected: list[str]) -> None:
    model = build_model(name, 2)
    model.requires_grad_(False)
    assert names(model) == expected
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.parameters())
    with torch.device("meta"):
        assert names(build_model(name, 2)) == expected


def test_finding_them_leaves_the_network_as_it_was() -> None:
    model = Own().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    output_layers(model)
    assert model.training and all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


class Constant(Own):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.repeat(1, 2, 1, 1)


class Tuple(Own):
    def forward(self, images: torch.Tensor) -> Any:
        return super().forward(images), 1


class Named(Own):
    def forward(self, images: torch.Tensor) -> Any:
        return {"logits": super().forward(images)}


class Pooled(Own):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).mean((2, 3))


class Quarter(Own):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(super().forward(images), 4)


class Broken(Own):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise IndexError("no such thing")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Tuple, "expected a network that gives logits or a dict with out, found tuple"),
        (Named, "expected a network whose output has out, found one with logits"),
        (Pooled, r"expected logits \(N, C, H, W\), found out: \(1, 2\)"),
        (Quarter, "expected a network whose logits are as large as the image, 64x64, found 16x16"),
        (Broken, r"expected a network that takes images \(1, 3, 64, 64\), found: no such thing"),
    ],
)
def test_what_gives_no_logits_is_refused(kind: type[nn.Module], message: str) -> None:
    with refused(message):
        network_of_module(kind())


def test_logits_of_no_layer_are_refused() -> None:
    with refused("cannot tell which layer of Constant gives its logits out"):
        output_layers(Constant())


def test_one_output_is_no_background_and_crack() -> None:
    with refused("expected a network with one output per class, background included, found 1"):
        network_of_module(Own(classes=1))


@pytest.mark.slow
def test_classes_are_those_named_or_numbered() -> None:
    assert network_of_module(Own()).classes == CRACK
    assert network_of_module(Own(classes=7)).classes == S2DS
    assert network_of_module(Own(classes=3)).classes.classes == ("class 0", "class 1", "class 2")
    named = ClassSet("own", ("a", "b", "c"), ((0, 0, 0),) * 3)
    assert network_of_module(Own(classes=3), named).classes == named
    with refused("--classes: expected the 2 that Own has outputs for, found 3"):
        network_of_module(Own(), named)


@pytest.mark.slow
def test_what_this_project_builds_itself_needs_no_factory(tmp_path: Path) -> None:
    module = segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=2).eval()
    network = network_of_module(module)
    assert (network.architecture, network.model) == ("lraspp_mobilenet_v3_large", module)
    loaded = load_checkpoint(save_checkpoint(network, tmp_path / "a.pth"))
    assert torch.equal(logits(loaded.model), logits(module))


def test_the_same_names_in_another_network_are_another_network() -> None:
    module = build_model("deeplabv3_tiny", 2)
    with torch.no_grad():
        module.classifier[-1].bias.fill_(-10.0)  # type: ignore[index, operator, union-attr]
    module.classifier.append(nn.ReLU())  # type: ignore[operator, union-attr]
    assert network_of_module(module).architecture == "module:DeepLabV3"


@pytest.mark.parametrize(
    ("factory", "options"),
    [(smp.FPN, FPN), (build_own, {"width": 10, "classes": 3}), (f"{__name__}:build_own", {"classes": 4})],
)
def test_a_pruned_network_of_others_is_saved_and_rebuilt(factory: Any, options: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    built = Factory.of(factory, options)
    network = network_of_module(built.build(), factory=factory, factory_options=options)
    before = layer_widths(network.model)
    prune_model(network.model, HALF)
    assert sum(row[3] for row in layer_widths(network.model)) < 0.6 * sum(row[3] for row in before)
    file = save_checkpoint(network, tmp_path / "small.pth")
    stored = torch.load(file, weights_only=True)
    assert stored["version"] == 1 and stored["architecture"]["name"] == f"factory:{built.name}"
    assert stored["architecture"]["options"] == options
    for trusted in (built.name, factory):
        loaded = load_checkpoint(file, factory=trusted)
        assert torch.equal(logits(loaded.model), logits(network.model))
        assert (loaded.architecture, loaded.classes) == (built.architecture, network.classes)
        assert loaded.factory == built and layer_widths(loaded.model) == layer_widths(network.model)
    again = save_checkpoint(load_checkpoint(file, factory=factory), tmp_path / "again.pth")
    assert torch.equal(logits(load_checkpoint(again, factory=factory).model), logits(network.model))


def test_group_normalization_keeps_its_blocks() -> None:
    """Two thirds of the twelve channels are left as 2 of every 3, the lowest of each block gone, not of the layer."""
    model: Any = Normalized()
    with torch.no_grad():
        model.body[0].weight[:] = torch.tensor([9.0, 1, 8, 2, 7, 3, 6, 4, 5, 10, 11, 0.5])[:, None, None, None]
    outcome = prune_model(
        model, PruneSettings(importance_type="Magnitude", p_value=1, pruning_ratio=100 / 3, round_to=1)
    )
    assert outcome.removed_outputs["body.0"] == [[1, 3, 7, 11]]
    assert (model.body[1].num_groups, model.body[1].num_channels) == (4, 8)


class Grouped(nn.Module):
    """A convolution in two groups between two that are not; what it reads and makes cannot be cut, the rest can."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 8, 1))
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images))


def test_what_a_grouped_convolution_touches_stays_as_it_is() -> None:
    model: Any = Grouped()
    prune_model(model, HALF)
    assert [(layer.in_channels, layer.out_channels) for layer in model.body] == [(3, 8), (8, 8), (8, 4)]
    assert logits(model).shape == (2, 2, 64, 96)


class Reshaped(Own):
    """Channels are looked up by number."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fine(self.unrelated(self.first(images))[:, list(range(11, -1, -1))])


def test_what_cannot_be_pruned_is_one_line() -> None:
    with refused("the pruned network does not run|cannot be pruned|cannot be traced"):
        prune_model(Reshaped(), HALF)


def test_a_file_alone_imports_and_calls_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_module.py").write_text("raise SystemExit('ran')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    network = Network(Own(), "", CRACK, factory=Factory("evil_module:build"))
    file = save_checkpoint(network, tmp_path / "a.pth")
    with refused(r"a.pth: expected --factory evil_module:build, .* only called when it is named, found none"):
        load_checkpoint(file)
    with refused(r"a.pth: --factory: expected evil_module:build, found other:build"):
        load_checkpoint(file, factory="other:build")
    assert "evil_module" not in sys.modules
    assert load_checkpoint(file, factory=build_own).classes == CRACK


def test_factories_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = save_checkpoint(network_of_module(Own(), factory=build_own), tmp_path / "a.pth")
    with refused("the weights do not fit the architecture factory:.*build_own"):
        load_checkpoint(file, factory=lambda: nn.Conv2d(3, 2, 1))
    with refused("expected a torch.nn.Module, found int"):
        load_checkpoint(file, factory=lambda: 5)
    with refused("fails with ZeroDivisionError"):
        load_checkpoint(file, factory=lambda: 1 / 0)
    with pytest.raises(TypeError, match=r"factory: expected a function or package\.module:function, found int"):
        load_checkpoint(file, factory=5)
    with refused("--factory: expected package.module:function, found 'build_own'"):
        load_checkpoint(file, factory="build_own")
    with refused("--factory .*: expected the layers of the Own, found others"):
        network_of_module(Own(), factory=smp.FPN, factory_options=FPN)
    for name, reason in (("no_such_module:build", "No module named"), ("math:build", "no attribute 'build'")):
        with refused(f"--factory {name}: cannot be imported: .*{reason}"):
            network_of_module(Own(), factory=name)
    with refused("--factory math:pi: expected a function, found float"):
        network_of_module(Own(), factory="math:pi")
    with refused("--factory: expected a function that takes the factory_options width, found none"):
        network_of_module(Own(), factory_options={"width": 12})
    with pytest.raises(TypeError, match="factory_options: width: expected a plain value, found Tensor"):
        network_of_module(Own(), factory=build_own, factory_options={"width": torch.tensor(12)})


def test_without_a_factory_nothing_can_be_saved(tmp_path: Path) -> None:
    with refused("--factory: expected what builds module:Own, a function or package.module:function"):
        save_checkpoint(network_of_module(Own()), tmp_path / "a.pth")
    assert not list(tmp_path.iterdir())


def test_a_partial_names_its_function_and_keywords(tmp_path: Path) -> None:
    partial = functools.partial(build_own, classes=3)
    network = network_of_module(partial(), factory=partial)
    assert network.factory == Factory(f"{__name__}:build_own", {"classes": 3}) and network.title == "build_own"
    file = save_checkpoint(network, tmp_path / "a.pth")
    assert torch.equal(logits(load_checkpoint(file, factory=partial).model), logits(network.model))


@pytest.mark.slow
def test_a_bare_state_dict_is_read_with_a_factory(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Own(classes=3)
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    with refused("expected the state dict of a network this project knows"):
        load_checkpoint(tmp_path / "bare.pth")
    loaded = load_checkpoint(tmp_path / "bare.pth", factory=functools.partial(build_own, classes=3))
    assert torch.equal(logits(loaded.model), logits(model)) and len(loaded.classes) == 3 and loaded.foreign


def test_known_checkpoints_hold_what_they_always_did(tmp_path: Path) -> None:
    file = save_checkpoint(Network(build_model("deeplabv3_tiny", 2), "deeplabv3_tiny", CRACK), tmp_path / "a.pth")
    stored = torch.load(file, weights_only=True)
    assert stored["architecture"] == {"name": "deeplabv3_tiny", "num_classes": 2, "auxiliary": True}
    assert list(stored) == [
        *("format", "version", "architecture", "classes", "preprocessing", "lineage", "versions", "state_dict")
    ]


def test_an_attribute_called_aux_classifier_is_a_head_only_when_it_is_a_module() -> None:
    model: Any = Own()
    model.aux_classifier = "none"
    with without_auxiliary(model) as inference:
        assert inference.aux_classifier == "none"

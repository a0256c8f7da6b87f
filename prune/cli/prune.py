"""``torchvision_pruning.py``: a checkpoint in, a smaller one and a report of what was removed out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prune.cli.outputs import FORCE, require_same_settings, stored_result
from prune.cli.verbs import call
from prune.errors import UserError
from prune.files import MODELS, PRUNING, check_writable, find_model, require_plain_name, short_name, visible
from prune.options import CHECKPOINT_FLAGS, FACTORY, TRUST_PICKLE, fields_of, option
from prune.pruning.settings import PruneSettings

if TYPE_CHECKING:  # imported only after the command line has been read
    from prune.data.split import Split
    from prune.models.checkpoint import Network


@dataclass(frozen=True)
class PruneOptions(PruneSettings):
    """Options of ``torchvision_pruning.py``."""

    model_name: str | None = option(None, "name of the pruned model; default: <model>_<criterion>_<ratio or target>")
    state_dict: str | None = option(
        None, "checkpoint to prune; default: the newest unpruned one in results/models", aliases=CHECKPOINT_FLAGS[1:]
    )
    model: str | None = option(
        None, "network the checkpoint must contain; if there is no checkpoint, the network to build"
    )
    data_dir: str | None = option(
        None,
        "data folder, or its training split; default: the data the checkpoint was trained on, else the default data",
        aliases=("--data",),
    )
    force: bool = option(False, FORCE)
    trust_pickle: bool = option(False, TRUST_PICKLE)
    factory: str | None = option(None, FACTORY)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model_name is not None:
            require_plain_name("--model_name", self.model_name)


def _named_network(options: PruneOptions) -> Network | None:
    """The named checkpoint, else the newest unpruned one; None when there is none at all."""
    from prune.models.checkpoint import load_checkpoint, newest_model, require_architecture

    if options.state_dict:
        network = load_checkpoint(find_model(options.state_dict), options.trust_pickle, options.factory)
    elif visible(MODELS, "*.pth"):
        network = load_checkpoint(newest_model(pruned=False), factory=options.factory)
    else:
        return None
    require_architecture(network, options.model)
    return network


def _fresh_network(options: PruneOptions) -> Network:
    """A new network with the best available weights."""
    import torch

    from prune.data.labels import S2DS
    from prune.models import build_model
    from prune.models.checkpoint import Network
    from prune.models.pretrained import initialize
    from prune.training.settings import DEFAULT_MODEL

    torch.manual_seed(options.seed)
    name = options.model or DEFAULT_MODEL
    model = build_model(name, len(S2DS))
    source = initialize(model, name, "auto")
    print(f"no checkpoint in {MODELS}: a fresh {name} with {source}; train it before you trust it")
    return Network(model, name)


def _keep(network: Network, split: Split, options: PruneOptions, file: Path) -> None:
    """Give a fresh network batch-norm statistics of the data and write it to ``file``."""
    from prune.api.pruning_data import PruningData
    from prune.hardware import choose_device
    from prune.models.checkpoint import save_checkpoint

    device = choose_device(options.device)
    network.model.to(device)
    PruningData(network, split, options, device).recalibrate()
    network.file = save_checkpoint(network, file)


def _name(network: Network, options: PruneOptions) -> str:
    """What the pruned network is called: ``--model_name``, else a name made of origin, criterion, and ratio or target."""
    goal = f"{options.pruning_ratio:g}"
    if options.target:
        asked = str(getattr(options, options.target)).replace("%", "pct").replace(" ", "").removesuffix(".0")
        goal = options.target.removeprefix("target_").removesuffix("_ms") + asked
    own = short_name(f"{network.title}_{options.criterion.lower()}_{goal}")
    name = (options.model_name or own).removesuffix(".pth")
    if network.file and (MODELS / f"{name}.pth").resolve() == network.file.resolve():
        raise UserError(f"--model_name {name}: would overwrite the model being pruned: choose another name")
    return name


def _require_same(network: Network, options: PruneOptions, name: str) -> None:
    """Keep a pruned network of other settings from being replaced."""
    file, report = MODELS / f"{name}.pth", PRUNING / f"{name}.json"
    if options.force or not file.exists():
        return
    content = stored_result(report)
    if content is None:
        raise UserError(f"{file} exists: choose another name (--model_name), or replace it with --force")
    stored = dict(content.get("settings", {}))
    with suppress(UserError):  # a path and a bare name may mean the same file, which may be gone
        stored["state_dict"] = str(find_model(stored["state_dict"])) if stored.get("state_dict") else None
    searched = ("pruning_ratio", "round_to") if options.target or options.round_to == "auto" else ()
    now = asdict(options) | {"state_dict": str(network.file) if network.file else None}
    require_same_settings(file, stored, now, "--model_name", but=searched)


def run(options: PruneOptions) -> None:
    """Prune the named or the newest network and print the report."""
    from prune.api.prune import prune
    from prune.cli.defaults import open_lineage_split
    from prune.hardware import set_threads

    set_threads(options.threads)
    check_writable(MODELS)
    network = _named_network(options) or _fresh_network(options)
    name = _name(network, options)
    _require_same(network, options, name)
    split = open_lineage_split(options, options.data_dir, "train", network, "--data_dir")
    before = None if network.file else MODELS / f"{name}_before.pth"
    if before:
        _keep(network, split, options, before)
    settings = fields_of(PruneSettings, options) | {
        "layer_times": options.layer_times or str(PRUNING / "layer_times.json")
    }
    own = {name: value for name, value in asdict(options).items() if name not in {*settings, "factory"}}
    file, report = MODELS / f"{name}.pth", PRUNING / f"{name}.json"
    print(prune(network, data=split, checkpoint=file, report=report, record=own, **settings))
    if before:
        print(f"the unpruned network is kept in {before}")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("prune", argv)

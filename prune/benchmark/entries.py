"""Networks that are timed against each other: a file, and how it is run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from prune.errors import UserError
from prune.files import find_model
from prune.inference.load import load_predictor
from prune.inference.predictor import TORCH_FREE_SUFFIXES, Predictor

WAYS = ("bf16", "compiled", "openvino")
"""``FILE:bf16`` and ``FILE:compiled`` run a checkpoint that way, ``FILE:openvino`` an ONNX file by OpenVINO."""


def split_name(name: str) -> tuple[Path, str]:
    """File and way of a name such as ``small.pth:bf16``.

    Raises:
        UserError: for a missing file and an unknown way.
    """
    text, colon, way = name.rpartition(":")
    if colon and way in WAYS:
        return find_model(text), way
    try:
        return find_model(name), ""
    except UserError:
        if colon and text and "/" not in way and "\\" not in way:
            raise UserError(f"{name}: expected one of {', '.join(WAYS)} behind the colon, found {way!r}") from None
        raise


def open_network(name: str, threads: int = 0, device: str = "cpu") -> Predictor:
    """The network a name stands for, ready to run.

    Raises:
        UserError: for a missing file or runtime, and a way the file cannot be run.
    """
    file, way = split_name(name)
    if file.suffix in TORCH_FREE_SUFFIXES:
        if way == "openvino":
            from prune.inference.openvino import OpenVinoPredictor

            return OpenVinoPredictor(file, threads, None)
        if way:
            raise UserError(f"{name}: {way} is for checkpoints")
        return load_predictor(file, threads=threads)
    if way == "openvino":
        raise UserError(f"{name}: openvino runs .onnx and .xml files, export the checkpoint first")
    return _torch_network(file, way, threads, device)


def _torch_network(file: Path, way: str, threads: int, device: str) -> Predictor:
    import torch

    from prune.hardware import choose_device, set_threads
    from prune.inference.torch import TorchPredictor

    set_threads(threads)
    options: dict[str, Any] = {"autocast": torch.bfloat16} if way == "bf16" else {}
    predictor = load_predictor(file, device=choose_device(device), **options)
    if isinstance(predictor, TorchPredictor):
        predictor.network.model.aux_classifier = None  # type: ignore[assignment]
        if way == "compiled":
            predictor.network.model = torch.compile(predictor.network.model.eval())  # type: ignore[assignment]
            predictor.card = replace(predictor.card, precision=f"{predictor.card.precision} compiled")
    return predictor

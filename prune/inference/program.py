"""PyTorch programs (.pt2) as data: their graph is run call by call, and nothing in the file is unpickled or evaluated.

``torch.export.load`` must not open an untrusted file: it unpickles tensors and sample inputs, evaluates the
shape expressions and guards of the graph as Python, looks operators up by any dotted name and loads compiled libraries.
"""

import io
import json
import math
import operator
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from prune.errors import UserError

_ATEN = (
    *("conv2d.default", "conv_transpose2d.input", "batch_norm.default", "dropout.default", "sym_size.int"),
    *("relu.default", "relu_.default", "hardswish.default", "hardswish_.default", "hardsigmoid.default"),
    *("hardtanh.default", "hardtanh_.default"),
    *("sigmoid.default", "add.Tensor", "add_.Tensor", "mul.Tensor", "mul_.Tensor", "sub.Tensor", "cat.default"),
    *("max_pool2d.default", "avg_pool2d.default", "adaptive_avg_pool2d.default", "pixel_shuffle.default"),
    *("upsample_bilinear2d.vec", "upsample_nearest2d.vec", "pad.default", "slice.Tensor", "argmax.default", "to.dtype"),
    "alias.default",
)
_PYTHON = ("add", "sub", "mul", "floordiv", "mod", "neg")
OPERATORS: dict[str, Callable[..., Any]] = {
    **{f"torch.ops.aten.{name}": operator.attrgetter(name)(torch.ops.aten) for name in _ATEN},
    **{f"_operator.{name}": getattr(operator, name) for name in _PYTHON},
}
"""What a program may call: the tensor operators of this project's networks, and arithmetic on image sizes."""
ASSERTIONS = "torch.ops.aten._assert"
"""Calls that only check the example's facts again; they have no result and are left out."""
MEMBERS = re.compile(
    r"archive_format|archive_version|byteorder|\.data/\w+|version|models/model\.json|data/sample_inputs/model\.pt"
    r"|data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|extra/\w+"
)
"""Parts of an archive, below its one folder."""
TYPES = {1: torch.uint8, 5: torch.int64, 6: torch.float16, 7: torch.float32, 8: torch.float64, 12: torch.bool}
"""Number formats by PyTorch's number for them in a program."""
PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string")
"""Kinds of arguments that stand in the file as they are."""


class _Name(NamedTuple):
    """A value that an earlier call gave."""

    name: str


@dataclass(frozen=True)
class _Call:
    """One operator with its arguments, the name of its result, and the names no later call needs."""

    operator: Callable[..., Any]
    positional: list[Any]
    keywords: dict[str, Any]
    result: str
    finished: tuple[str, ...]


def _filled(argument: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(argument, _Name):
        return values[argument.name]
    return [_filled(item, values) for item in argument] if isinstance(argument, list) else argument


@dataclass(frozen=True)
class Program:
    """A function of normalized images.

    Args:
        calls: In order.
        state: Weights and constants by the names the calls use.
        image: Name of the input.
        output: Name of the result.
    """

    calls: Sequence[_Call]
    state: Mapping[str, torch.Tensor]
    image: str
    output: str

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """What the network gives for float32 (N, 3, H, W): logits, or class ids."""
        values: dict[str, Any] = {**self.state, self.image: images}
        for call in self.calls:
            arguments = _filled(call.positional, values)
            keywords = {name: _filled(value, values) for name, value in call.keywords.items()}
            values[call.result] = call.operator(*arguments, **keywords)
            for name in call.finished:
                del values[name]
        return values[self.output]


def _refusal(file: Path, what: str) -> UserError:
    return UserError(
        f"{file}: expected tensors and a graph of known operators, found {what}, which can run code and is not opened; "
        "if you trust the file, add --trust_pickle"
    )


def _members(archive: zipfile.ZipFile, file: Path) -> dict[str, zipfile.ZipInfo]:
    """The parts of an archive without the name of the folder they are in."""
    found = {}
    for entry in archive.infolist():
        name = entry.filename.partition("/")[2]
        if not MEMBERS.fullmatch(name):
            raise _refusal(file, f"a part called {entry.filename!r}")
        if entry.compress_type != zipfile.ZIP_STORED or name in found:
            raise ValueError(f"the part {entry.filename!r} is compressed or there twice")
        found[name] = entry
    return found


def _check_sample_inputs(content: bytes, file: Path) -> None:
    """Refuse sample inputs that ``torch.load`` would not take as plain tensors; they are never read."""
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(content))
    except Exception as error:  # whatever is not an archive of torch.save; torch would unpickle it
        raise _refusal(file, "pickled objects as sample inputs") from error
    if foreign:
        raise _refusal(file, f"pickled objects as sample inputs ({foreign[0]})")


def _tensors(read: Callable[[str], bytes], room: str, config: str, file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a folder of the archive by their names in the network, each laid over its own bytes."""
    found = {}
    stored: dict[str, bytearray] = {}  # read once: weights that are shared stay shared
    for name, entry in json.loads(read(f"{room}/{config}"))["config"].items():
        if entry["use_pickle"]:
            raise _refusal(file, f"the pickled tensor {name}")
        meta, path = entry["tensor_meta"], f"{room}/{entry['path_name']}"
        if path not in stored:
            stored[path] = bytearray(read(path))
        sizes, strides = ([int(side["as_int"]) for side in meta[key]] for key in ("sizes", "strides"))
        flat = torch.frombuffer(stored[path], dtype=TYPES[meta["dtype"]])
        if math.prod(sizes) > len(flat):
            raise ValueError(f"{name} has {math.prod(sizes)} numbers, the file {len(flat)} of them")
        found[name] = flat.as_strided(sizes, strides, int(meta["storage_offset"]["as_int"]))
    return found


def _argument(stored: Mapping[str, Any], file: Path) -> Any:
    """An argument of a call: a plain value, or the names of earlier results."""
    ((kind, value),) = stored.items()
    if kind in PLAIN:
        return value
    if kind == "as_none":
        return None
    if kind == "as_tensor":
        return _Name(value["name"])
    if kind == "as_tensors":
        return [_Name(item["name"]) for item in value]
    if kind == "as_sym_int":
        return _Name(value["as_name"]) if "as_name" in value else int(value["as_int"])
    if kind == "as_sym_ints":
        return [_Name(item["as_name"]) if "as_name" in item else int(item["as_int"]) for item in value]
    if kind == "as_scalar_type":
        return TYPES[value]
    raise _refusal(file, f"an argument of the kind {kind}")


def _names(argument: Any) -> set[str]:
    if isinstance(argument, _Name):
        return {argument.name}
    return set().union(*map(_names, argument)) if isinstance(argument, list) else set()


def _calls(nodes: Sequence[Mapping[str, Any]], kept: set[str], file: Path) -> list[_Call]:
    """The calls of a graph; every result but ``kept`` is released after its last use."""
    calls: list[_Call] = []
    needed = set(kept)
    for node in reversed(nodes):
        target = node["target"]
        if target.startswith(ASSERTIONS):
            continue
        if target not in OPERATORS:
            raise _refusal(file, f"the operator {target}")
        (output,) = node["outputs"]
        result = output["as_tensor"]["name"] if "as_tensor" in output else output["as_sym_int"]["as_name"]
        arguments = [(entry["name"], entry["kind"], _argument(entry["arg"], file)) for entry in node["inputs"]]
        positional = [value for _, kind, value in arguments if kind == 1]
        keywords = {name: value for name, kind, value in arguments if kind != 1}
        used = _names([*positional, *keywords.values()]) | {result}
        calls.append(_Call(OPERATORS[target], positional, keywords, result, tuple(sorted(used - needed))))
        needed |= used
    return calls[::-1]


def read_program(file: Path) -> tuple[Program, dict[str, str]]:
    """The program in an archive that ``torch.export.save`` wrote, and the texts that were stored with it.

    Raises:
        UserError: for whatever could run code.
        ValueError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile: for a damaged archive.
    """
    with zipfile.ZipFile(file) as archive:
        members = _members(archive, file)

        def read(name: str) -> bytes:
            return archive.read(members[name])

        _check_sample_inputs(read("data/sample_inputs/model.pt"), file)
        weights = _tensors(read, "data/weights", "model_weights_config.json", file)
        constants = _tensors(read, "data/constants", "model_constants_config.json", file)
        module = json.loads(read("models/model.json"))["graph_module"]
        texts = {
            name.removeprefix("extra/"): read(name).decode("utf-8") for name in members if name.startswith("extra/")
        }
    images, state = [], {}
    for spec in module["signature"]["input_specs"]:
        ((kind, entry),) = spec.items()
        if kind == "user_input":
            images.append(entry["arg"]["as_tensor"]["name"])
        else:
            tensors = constants if kind == "tensor_constant" else weights | constants
            state[entry["arg"]["name"]] = tensors[entry[f"{kind}_name"]]
    (output,), (image,) = module["graph"]["outputs"], images
    result = output["as_tensor"]["name"]
    calls = _calls(module["graph"]["nodes"], {result, image, *state}, file)
    return Program(calls, state, image, result), texts

"""Prune crack-segmentation networks and measure what the pruning cost.

    import prune

    dense = prune.train("data/S2DS", epochs=100)
    small = prune.prune(dense, ratio=50, importance="Taylor", data="data/S2DS")
    tuned = prune.train("data/S2DS", start=small, teacher=dense, epochs=30)
    scores = prune.evaluate(tuned, "data/S2DS/test")
    file = prune.export(tuned, "small.onnx", precision="int8", data="data/S2DS")
    found = prune.load(file).predict("bridge.jpg")

Functions take str or Path, print nothing, write only the files you name, and return objects; ``prune.progress.show()``
turns on messages and progress bars. Each function is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from prune.errors import UserError
from prune.version import VERSION as __version__

if TYPE_CHECKING:
    from prune.api.compare import compare
    from prune.api.dataset import dataset
    from prune.api.evaluate import evaluate
    from prune.api.export import export
    from prune.api.inspect import inspect
    from prune.api.load import load
    from prune.api.model import Model
    from prune.api.predict import predict
    from prune.api.prune import prune
    from prune.api.score import score
    from prune.api.survey import survey
    from prune.api.synthesize import synthesize
    from prune.api.train import train
    from prune.studies.run import study

__all__ = [
    "Model",
    "UserError",
    "__version__",
    "compare",
    "dataset",
    "evaluate",
    "export",
    "inspect",
    "load",
    "predict",
    "progress",
    "prune",
    "score",
    "study",
    "survey",
    "synthesize",
    "train",
]
_HOMES = {"Model": "prune.api.model", "progress": "prune.progress", "study": "prune.studies.run"}


def __getattr__(name: str) -> Any:
    """Import a public function when it is first asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_HOMES.get(name, f"prune.api.{name}"))
    value = module if name == "progress" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

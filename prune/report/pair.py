"""The workbook and the JSON of one evaluation carry the same id, so that files of two evaluations are not taken for one."""

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prune.errors import UserError

ID = "id"
"""In the block ``run`` of the JSON; in the workbook it is the identifier of its properties."""
IDENTIFIER = re.compile(r"<dc:identifier>([0-9a-f]{16})</dc:identifier>")
PROPERTIES = "docProps/core.xml"
"""Where a workbook has it."""


def pair_id(content: Mapping[str, Any]) -> str:
    """The id of an evaluation: 16 hexadecimal digits of its summary and its counts."""
    counted = json.dumps([content["summary"], content["statistics"]], sort_keys=True, default=str)
    return hashlib.sha256(counted.encode()).hexdigest()[:16]


def require_pair(file: Path, content: Mapping[str, Any]) -> None:
    """Raise ``UserError`` when the workbook beside the JSON ``file`` is that of another evaluation.

    Workbooks of other programs and of versions that knew no ids are not compared.
    """
    workbook = file.with_suffix(".xlsx")
    try:
        with zipfile.ZipFile(workbook) as archive, archive.open(PROPERTIES) as stream:
            found = IDENTIFIER.search(stream.read(1 << 16).decode("utf-8", "replace"))
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError):
        return
    run = content.get("run")
    own = run.get(ID) if isinstance(run, Mapping) else None
    if found is not None and own is not None and found[1] != own:
        raise UserError(f"{file}: expected the numbers of {workbook.name} beside it, found those of another evaluation")

"""Python imports this by its name before a disturbed command: a signal strikes when it is about to write for the n-th time.

FAULT_BELOW names the folder whose files count, FAULT_AT the number, FAULT_SIGNAL the signal, which the whole process group
gets, and FAULT_NOTES a file that gets a line for every time.
"""

import os
import sys

BELOW, AT = os.environ.get("FAULT_BELOW", ""), int(os.environ.get("FAULT_AT", "0"))
SIGNAL, NOTES = int(os.environ.get("FAULT_SIGNAL", "9")), os.environ.get("FAULT_NOTES", "")
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "shutil.move"}
times = [0]


def look(event: str, arguments: tuple[object, ...]) -> None:
    """Count what changes files below the folder."""
    if event not in EVENTS or (event == "open" and not int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR)):
        return
    named = arguments[0]
    if not isinstance(named, (str, bytes)) or not os.path.abspath(os.fsdecode(named)).startswith(BELOW):  # noqa: PTH100
        return
    times[0] += 1
    if NOTES:
        notes = os.open(NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(notes, f"{event} {os.fsdecode(named)}\n".encode())
        os.close(notes)
    if times[0] == AT:
        os.killpg(os.getpgid(0), SIGNAL)


if BELOW:
    sys.addaudithook(look)

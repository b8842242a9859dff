"""The ground on which functions are called: the channel to the host, and the log."""

import collections.abc
import datetime
import functools
import importlib
import importlib.util
import inspect
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
import types

UTC = datetime.timezone.utc

# The pipe that was stdin brings answers, the one that was stdout takes questions; the function sees neither.
_from_host = channel  # noqa: F821 - set by the line that started this
_to_host = open(os.dup(1), "wb", buffering=0)
os.dup2(2, 1)
_null = os.open(os.devnull, os.O_RDONLY)
os.dup2(_null, 0)
os.close(_null)
for _stream in (sys.stdout, sys.stderr):
    _stream.reconfigure(encoding="utf-8", errors="backslashreplace")
if sys.path and sys.path[0] == "":
    del sys.path[0]
_lock = threading.RLock()


def _send(message):
    data = memoryview(json.dumps(message, allow_nan=False).encode() + b"\n")
    while data:
        data = data[_to_host.write(data):]


def ask(**question):
    with _lock:
        _send(question)
        line = _from_host.readline()
    if not line:
        raise RuntimeError("the scheduler is gone")
    answer = json.loads(line)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["value"]


class _Lines(logging.Handler):
    """Writes records as Airflow's logs have them. The mark tells the host that a line is laid out already."""

    def emit(self, record):
        try:
            at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            text = record.getMessage()
            if record.exc_info:
                text += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
            head = f"[{at}.{int(record.msecs):03d}+0000] {{{record.filename}:{record.lineno}}} {record.levelname} - "
            lines = (head + text).splitlines() or [head]
            data = "".join(f"\x1e{line}\n" for line in lines).encode("utf-8", "backslashreplace")
            sys.stdout.flush()
            with _lock:
                os.write(2, data)
        except Exception:
            self.handleError(record)


logging.basicConfig(level=logging.INFO, handlers=[_Lines()], force=True)
logging.captureWarnings(True)

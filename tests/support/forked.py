"""Something that a process can do once only, or not undo: done in a fork of the test's process."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from typing import Any


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` returns in a forked child, by way of JSON.

    Raises:
        AssertionError: it raised something; the child's stderr has it.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writer, json.dumps(work()).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader, "rb") as file:
        answer = file.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, "the child failed"
    return json.loads(answer)

"""How far 32-bit boards get: there is a runtime and Debian's numpy, and no wheel of msgspec."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.support.emulated import Emulated
from tests.support.packager_builders import DIGITS, digits_task
from tests.support.tools import do_without

pytestmark = pytest.mark.timeout(600)  # emulated, and the first test makes the userland

_CODE = """
import json, pathlib, platform, sys
import numpy as np
from tflite_runtime import __version__
from tflite_runtime.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1])
interpreter.allocate_tensors()
source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
images, wanted = np.load(sys.argv[2]), np.load(sys.argv[3])
right = 0
for image, label in zip(images, wanted):
    interpreter.set_tensor(source, image[np.newaxis])
    interpreter.invoke()
    right += int(interpreter.get_tensor(sink)[0].argmax() == label)
print(json.dumps([platform.machine(), sys.maxsize > 2**32, __version__, right]))
"""


def test_the_runtime_of_32_bit_boards_answers_right(emulated: Emulated, tmp_path: Path) -> None:
    if not (emulated.folder / "root-armhf" / "ready").exists():
        do_without(
            "Debian's armhf packages could not be fetched", remedy="scripts/arm64-environment build/arm64"
        )
    task = digits_task()
    (images,) = task.inputs(range(100))
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "wanted.npy", task.truth[:100])
    done = subprocess.run(
        [
            *(emulated.python_armv7l, "-c", _CODE, DIGITS / "digits-1.0.0.tflite"),
            *(tmp_path / "images.npy", tmp_path / "wanted.npy"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=emulated.environment(),
    )
    assert done.returncode == 0, done.stderr
    machine, is_64_bit, version, right = json.loads(done.stdout)
    assert (machine, is_64_bit, version) == ("armv7l", False, "2.14.0")
    assert right >= 95

"""A converter for tests: takes a .tflite file for its source, and behaves as its first argument says."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main(behaviour: str, folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    source = folder / job["source"]
    with (folder.parent / "started").open("a", encoding="utf-8") as file:
        file.write(f"{job['mode']}\n")
    (folder.parent / "pid").write_text(str(os.getpid()), encoding="utf-8")
    if behaviour == "refuses":
        (folder / "answer.json").write_text(
            '{"refused": "operator Frobnicate is not known"}', encoding="utf-8"
        )
        return
    if behaviour == "leaves":
        sys.stdout.write("step 1\nERROR: out of cheese\nbye\n")
        (folder / "answer.json").write_text('{"refused": ""}', encoding="utf-8")
        return
    if behaviour == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == "hangs":
        time.sleep(600)
    if job["mode"] == "convert":
        content = b"TFL?TFL3" if behaviour == "damages" else source.read_bytes()
        (folder / "model.tflite").write_bytes(content)
    answer(source, folder, job["mode"], behaviour)


def answer(source: Path, folder: Path, mode: str, behaviour: str) -> None:
    interpreter: Any = Interpreter(str(source))
    run = interpreter.get_signature_runner("serving_default")
    if mode == "convert":
        rows = np.random.default_rng(1).random((4, 1, 8, 8, 1)).astype(np.float32)
    else:
        with np.load(folder / "inputs.npz", allow_pickle=False) as given:
            rows = given["input.image"]
    expected = np.stack([run(image=row)["probabilities"] for row in rows])
    if behaviour == "lies" or (behaviour == "lies-later" and mode == "answer"):
        expected = expected[..., ::-1]
    arrays: dict[str, Any] = {"input.image": rows, "expected.probabilities": expected}
    np.savez(folder / "reference.npz", **arrays)
    image = {"name": "image", "shape": (1, 8, 8, 1), "dtype": "float32"}
    scores = {"name": "probabilities", "shape": (1, 10), "dtype": "float32"}
    said = {
        "inputs": [{**image, "source_name": "image", "source_shape": (1, 1, 8, 8)}],
        "outputs": [{**scores, "source_name": "probabilities", "source_shape": (1, 10)}],
        "tools": {"pretender": "1.0"},
    }
    (folder / "answer.json").write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

"""A trainer for tests: its model is a text, and it behaves as its first argument says."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np


def main(behaviour: str, folder: Path) -> None:
    order = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with (folder.parent / "trained").open("a", encoding="utf-8") as file:
        file.write(json.dumps(order) + "\n")
    if behaviour == "refuses":
        (folder / "answer.json").write_text('{"refused": "training diverged in epoch 1"}', encoding="utf-8")
        return
    if behaviour == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == "fails":
        sys.stdout.write("step 1\nValueError: out of cheese\n")
        sys.exit(1)
    if behaviour == "hangs":
        time.sleep(600)
    samples, classes = (np.load(folder / name, allow_pickle=False) for name in ("samples.npy", "classes.npy"))
    total = order["epochs"] * 2
    with (folder / "progress.jsonl").open("w", encoding="utf-8") as file:
        file.write(json.dumps({"done": 1, "total": total}) + "\n" + '{"done": 2, "tot')
        file.flush()
        time.sleep(
            0.8 if behaviour == "pauses" else 0
        )  # longer than between two looks: one of them meets half a line
        file.write(f'al": {total}, "epoch": 1, "loss": 0.5, "accuracy": 0.75}}\n')
    teacher = (folder / order["teacher"]).read_text(encoding="utf-8") if order["teacher"] else ""
    model = (folder / order["source"]).read_text(encoding="utf-8")
    (folder / "trained.keras").write_text(
        f"{model} {teacher} {samples.shape} {classes.sum()}\n\nend", "utf-8"
    )
    history = [{"epoch": 1, "loss": 0.5, "accuracy": 0.75}]
    (folder / "answer.json").write_text(
        json.dumps({"history": history, "tools": {"pretender": "1.0"}}), encoding="utf-8"
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

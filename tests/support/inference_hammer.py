"""An application that asks without end: ``python -m tests.support.inference_hammer RUN_DIR DIGIT PAUSE_S MODEL SPANS``.

Asks a model of digits about one image until standard input ends, then prints one JSON line: requests, failures (code
and text of each), answers by version, wrong labels, and times in seconds; the longest is of all requests, failed ones
too. With ``spans`` as the last word it has them, too: when every answered request began, on the machine's monotonic
clock, and how long it took.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections import Counter
from pathlib import Path

from contract.errors import LitefleetError
from edge_agent import connect
from tests.support.inference_slots import images_of, tensor_of

OPENING_S = 10.0
"""Opening is not what is measured: on a machine that runs something with real-time priority it may take a second."""


def main() -> None:
    run_dir, digit, pause_s, name = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    versions: Counter[str] = Counter()
    failures: list[tuple[str, str]] = []
    spans: list[tuple[float, float]] = []
    longest_s = 0.0
    wrong = 0
    image = images_of(digit)[0]
    feeds = (image, tensor_of(image))
    with connect(run_dir).model(name, wait_s=OPENING_S) as model:
        print("ready", flush=True)  # noqa: T201 - the test waits for it
        while not select.select([sys.stdin], [], [], pause_s)[0]:
            began = time.perf_counter()
            try:
                answer = model.infer(feeds[len(spans) % 2])
            except LitefleetError as error:
                failures.append((error.code, error.summary()))
                continue
            finally:
                longest_s = max(longest_s, time.perf_counter() - began)
            spans.append((began, time.perf_counter() - began))
            versions[answer.version] += 1
            wrong += int(answer.label != str(digit) or answer.outputs["probabilities"].argmax() != digit)
    times = sorted(took for _, took in spans)
    result = {
        "requests": len(times) + len(failures),
        "failures": failures,
        "versions": versions,
        "wrong": wrong,
        "p50_s": times[len(times) // 2],
        "p99_s": times[len(times) * 99 // 100],
        "longest_s": longest_s,
        "spans": spans if sys.argv[5] == "spans" else [],
    }
    print(json.dumps(result), flush=True)  # noqa: T201 - the result


if __name__ == "__main__":
    main()

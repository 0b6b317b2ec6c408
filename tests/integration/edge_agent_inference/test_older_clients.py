"""An application with an older SDK and one with this one get the same of the same worker."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from edge_agent import connect
from edge_agent.inference import protocol
from edge_agent.inference.area import create_area
from edge_agent.inference.pool import Pool
from tests.support.inference_slots import images_of, serve, tensor_of

_DEADLINE_S = 30


@pytest.mark.parametrize("takes_stored", [False, True])
def test_a_worker_leaves_stored_values_only_to_who_can_read_them(
    pool: Pool,
    run_dir: Path,
    takes_stored: bool,  # noqa: FBT001 - a case
) -> None:
    serve(pool)
    with connect(run_dir).model("digits") as model:
        expected = model.infer(tensor_of(images_of(4)[0]))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as raw:
        raw.settimeout(_DEADLINE_S)
        raw.connect(os.fspath(run_dir / "digits.sock"))
        welcome = protocol.parse_welcome(raw.recv(protocol.FRAME_MAX_BYTES))
        assert isinstance(welcome, protocol.Welcome)
        area, descriptor = create_area(welcome.tensor_bytes)
        socket.send_fds(raw, [protocol.encode_attach(takes_stored=takes_stored)], [descriptor])
        os.close(descriptor)
        assert protocol.parse_attached(raw.recv(protocol.FRAME_MAX_BYTES)) is None
        area.tensor(welcome.inputs[0])[...] = tensor_of(images_of(4)[0])
        raw.send(protocol.encode_request_of_tensors(1))
        answer = protocol.parse_answer(raw.recv(protocol.FRAME_MAX_BYTES))

    assert isinstance(answer, protocol.Result)
    assert answer.is_stored == takes_stored
    assert answer.classes == (() if takes_stored else expected.classes)
    real = area.tensor(welcome.outputs[0])
    assert np.array_equal(real, expected.outputs[welcome.outputs[0].name]) != takes_stored
    assert expected.label == "4"

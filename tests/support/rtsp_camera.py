"""A network camera for tests: RTSP (RFC 2326) over one TCP connection each, JPEG in RTP (RFC 2435).

Guarantees: shows one digit, 25 times a second, to whoever plays it; a process of its own, so that it can be killed and
stopped. Knows no passwords: any user may watch.
"""

from __future__ import annotations

import contextlib
import io
import socketserver
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator

from PIL import Image

from tests.support.inference_slots import ROOT, images_of

_FPS = 25
_SIZE = 64
_JPEG = 26
"""RTP's payload type of JPEG (RFC 3551, table 5); its clock has 90 kHz."""
_SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=digit\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    f"m=video 0 RTP/AVP {_JPEG}\r\na=framerate:{_FPS}\r\na=control:track1\r\n"
)


@contextlib.contextmanager
def an_rtsp_camera(port: int, digit: int, frames: int = 1 << 30) -> Iterator[subprocess.Popen[str]]:
    """A camera on loopback that listens; killed at the end.

    Args:
        port: TCP.
        digit: What it shows.
        frames: How many it shows on each connection before it ends the stream.
    """
    command = [sys.executable, "-m", "tests.support.rtsp_camera", str(port), str(digit), str(frames)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listens\n"
            yield process
        finally:
            process.kill()


def jpeg_payload(digit: int) -> bytes:
    """A digit as the payload of one RTP packet: RFC 2435, clause 3.1, with its quantization tables in band."""
    stream = io.BytesIO()
    image = (
        Image.fromarray(images_of(digit)[0]).resize((_SIZE, _SIZE), Image.Resampling.NEAREST).convert("RGB")
    )
    image.save(stream, "JPEG", quality=90, subsampling="4:2:0")
    content = stream.getvalue()
    tables, at = b"", 2
    while content[at + 1] != 0xDA:  # the start of the scan
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        if content[at + 1] == 0xDB:  # quantization tables, each behind its number
            segment = content[at + 4 : at + 2 + length]
            tables += b"".join(segment[first + 1 : first + 65] for first in range(0, len(segment), 65))
        at += 2 + length
    scan = content[at + 2 + int.from_bytes(content[at + 2 : at + 4], "big") :]
    # Type 1 is 4:2:0, quality 255 says that the tables follow.
    return struct.pack("!IBBBBHH", 0, 1, 255, _SIZE // 8, _SIZE // 8, 0, len(tables)) + tables + scan


class _Connection(socketserver.StreamRequestHandler):
    """One player."""

    payload = b""
    frames = 0

    def handle(self) -> None:
        """Answer requests; from PLAY on, show frames."""
        with contextlib.suppress(ConnectionError):
            while (line := self.rfile.readline()) and not line.startswith(b"PLAY"):
                self._answer(line.split(b" ")[0].decode())
            if line:
                self._answer("PLAY")
                self._show()

    def _answer(self, method: str) -> None:
        number = ""
        while header := self.rfile.readline().decode().strip():
            name, _, value = header.partition(":")
            number = value.strip() if name.lower() == "cseq" else number
        extra = {
            "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
            "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(_SDP)}\r\n",
            "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n",
        }.get(method, "")
        body = _SDP if method == "DESCRIBE" else ""
        self.wfile.write(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\nSession: 1\r\n{extra}\r\n{body}".encode())

    def _show(self) -> None:
        pace = threading.Event()
        for number in range(self.frames):
            header = struct.pack("!BBHII", 0x80, 0x80 | _JPEG, number & 0xFFFF, number * 90_000 // _FPS, 1)
            packet = header + self.payload
            self.wfile.write(struct.pack("!cBH", b"$", 0, len(packet)) + packet)
            pace.wait(1 / _FPS)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    """``rtsp_camera PORT DIGIT FRAMES``: serve until killed."""
    port, digit, frames = (int(argument) for argument in sys.argv[1:])
    _Connection.payload = jpeg_payload(digit)
    _Connection.frames = frames
    with _Server(("127.0.0.1", port), _Connection) as server:
        sys.stdout.write("listens\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()

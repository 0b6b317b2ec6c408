"""Captures and sinks by their kind.

Guarantees: what a kind needs is imported only for a source that has it.
"""

from __future__ import annotations

from pathlib import Path

from edge_agent.inference.sources.doors import Capture, Sink
from edge_agent.inference.sources.settings import Sink as SinkSettings
from edge_agent.inference.sources.settings import Source


def open_capture(source: Source) -> Capture:
    """The capture of a source.

    Raises:
        ConfigError: It can never work as it is configured.
    """
    if source.kind == "mqtt":
        from edge_agent.inference.sources.broker import TopicCapture

        return TopicCapture(source)
    if source.kind in {"folder", "watch"}:
        from edge_agent.inference.sources.folders import FolderCapture, WatchCapture

        folder = Path(source.path)
        return FolderCapture(folder) if source.kind == "folder" else WatchCapture(folder, source.done)
    from edge_agent.inference.sources.grabbing import CameraCapture

    if source.kind == "opencv":
        from edge_agent.inference.sources.streams import PATIENCE_S, opencv_opener

        return CameraCapture(opencv_opener(source), PATIENCE_S)
    from edge_agent.inference.sources import cameras

    opener = cameras.v4l2_opener if source.kind == "v4l2" else cameras.picamera_opener
    return CameraCapture(opener(source))


def open_sink(sink: SinkSettings) -> Sink:
    """A sink.

    Raises:
        ConfigError: It can never work as it is configured.
    """
    if sink.kind == "mqtt":
        from edge_agent.inference.sources.broker import TopicSink

        return TopicSink(sink)
    from edge_agent.inference.sources import sinks

    if sink.kind == "file":
        return sinks.FileSink(sink)
    if sink.kind == "callback":
        return sinks.CallbackSink(sink)
    return sinks.HookSink(sink) if sink.kind == "hook" else sinks.open_gpio(sink)

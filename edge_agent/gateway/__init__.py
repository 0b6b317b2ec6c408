"""The Open Inference Protocol over HTTP, for applications that do not use the SDK: a process of its own."""

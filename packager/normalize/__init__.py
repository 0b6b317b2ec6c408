"""Brings a model into the form that can be quantized, and proves that it still answers the same."""

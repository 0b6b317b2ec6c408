"""The packager's door to LiteRT: the only package here that imports ``ai_edge_litert``."""

"""Asks MediaPipe what is in images; runs in MediaPipe's environment, without litefleet.

``read_with_mediapipe.py MODEL FOLDER`` prints a JSON line per image: its path, and MediaPipe's best category. A model
that MediaPipe refuses ends with exit code 3 and the reason.
"""

import json
import sys
from pathlib import Path

import mediapipe
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
from mediapipe.tasks.python import BaseOptions, vision

_REFUSED = 3


def main(model: str, folder: str) -> int:
    """Classify every image of a folder of classes."""
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model), max_results=1)
    try:
        classifier = vision.ImageClassifier.create_from_options(options)
    except (ValueError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return _REFUSED
    with classifier:
        for path in sorted(Path(folder).glob("*/*.png")):
            found = classifier.classify(mediapipe.Image.create_from_file(str(path)))
            best = found.classifications[0].categories[0]
            row = {"path": str(path), "label": best.category_name, "index": best.index, "score": best.score}
            sys.stdout.write(json.dumps(row) + "\n")
    return 0


def show_card(card: str) -> int:
    """Print what MediaPipe's own reader of the schema finds in a metadata flatbuffer."""
    told = schema.ModelMetadataT.InitFromObj(schema.ModelMetadata.GetRootAs(Path(card).read_bytes(), 0))
    (graph,) = told.subgraphMetadata
    (image,), (scores,) = graph.inputTensorMetadata, graph.outputTensorMetadata
    options = image.processUnits[0].options
    found = {
        "name": told.name.decode(),
        "version": told.version.decode(),
        "parser": told.minParserVersion.decode(),
        "color": image.content.contentProperties.colorSpace,
        "size": [
            image.content.contentProperties.defaultSize.width,
            image.content.contentProperties.defaultSize.height,
        ],
        "mean": [float(value) for value in options.mean],
        "std": [float(value) for value in options.std],
        "low": [float(value) for value in image.stats.min],
        "high": [float(value) for value in image.stats.max],
        "file": scores.associatedFiles[0].name.decode(),
        "file_type": scores.associatedFiles[0].type,
    }
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(show_card(sys.argv[2]) if sys.argv[1] == "--card" else main(sys.argv[1], sys.argv[2]))

"""TFLite model metadata: what Android's and MediaPipe's task libraries read from a model file."""

"""What quantized model files take and give at their border, so that libraries besides ours can feed them."""

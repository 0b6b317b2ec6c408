"""From MQTT messages to committed rows."""

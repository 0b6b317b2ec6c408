"""The MQTT broker as a child process: mosquitto, or amqtt where there is none."""

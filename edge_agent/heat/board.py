"""Where the agent's parts get their sensors from.

Guarantees: one place turns settings and profile into sensors, so that all commands and the agent read the same.
"""

from __future__ import annotations

from contract.profile import Thermal
from edge_agent.heat.firmware import FirmwareTool
from edge_agent.heat.sensors import Sensors
from edge_agent.heat.settings import HeatSettings, sensor_of


def sensors_of(settings: HeatSettings, thermal: Thermal | None) -> Sensors:
    """The board's sensors.

    Args:
        settings: The agent's.
        thermal: The profile's; None where it has none.
    """
    return Sensors(sensor_of(settings, thermal), sysfs=settings.sysfs, tool=FirmwareTool(settings.vcgencmd))

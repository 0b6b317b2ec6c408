"""A board's heat and power as files below a folder that stands for sysfs; a test changes them as the world would."""

from __future__ import annotations

from pathlib import Path

ZONE = "class/thermal/thermal_zone0"


class HeatBoard:
    """Files of the kernel's sysfs.

    Args:
        sysfs: The folder.
    """

    def __init__(self, sysfs: Path) -> None:
        self.sysfs = sysfs

    def write(self, path: str, content: str | int) -> None:
        """Let a file say something; in one step, as the kernel's do."""
        file = self.sysfs / path
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.draft")
        draft.write_text(f"{content}\n")
        draft.replace(file)

    def remove(self, path: str) -> None:
        """Let a file be gone."""
        (self.sysfs / path).unlink()

    def set_celsius(self, celsius: float, zone: str = ZONE, kind: str = "cpu-thermal") -> None:
        """Warm a zone up or cool it down."""
        self.write(f"{zone}/type", kind)
        self.write(f"{zone}/temp", round(celsius * 1000))

    def set_cooling(self, kind: str, state: int, number: int = 0) -> None:
        """Set a cooling device."""
        self.write(f"class/thermal/cooling_device{number}/type", kind)
        self.write(f"class/thermal/cooling_device{number}/cur_state", state)

    def set_firmware(self, bits: int, soc: str = "soc/soc:firmware") -> None:
        """Set what the firmware of a Raspberry Pi says in ``get_throttled``."""
        self.write(f"devices/platform/{soc}/get_throttled", f"{bits:x}")

    def set_hwmon(self, name: str, number: int = 0, **files: int) -> None:
        """Set a sensor chip's files."""
        self.write(f"class/hwmon/hwmon{number}/name", name)
        for file, value in files.items():
            self.write(f"class/hwmon/hwmon{number}/{file}", value)

    def set_battery(self, percent: int, status: str, name: str = "BAT0", scope: str = "") -> None:
        """Set a battery."""
        self.write(f"class/power_supply/{name}/type", "Battery")
        self.write(f"class/power_supply/{name}/capacity", percent)
        self.write(f"class/power_supply/{name}/status", status)
        if scope:
            self.write(f"class/power_supply/{name}/scope", scope)

"""The agent's systemd unit.

PURE. Rules:

1. The service may write its state and run folder and nothing else; a folder under ``/var/lib`` or ``/run`` is made by
   systemd for its user, any other must be there.
2. It holds no capability and cannot get one; devices are those that models and delegates need.
3. The watchdog watches the main loop. A worker that the kernel kills for memory ends neither the agent nor the others.
4. Nothing of the unit depends on what the configuration says beyond its two folders and its own path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from contract.errors import ConfigError

DEVICES = (
    "char-apex",  # Edge TPU on PCIe (gasket driver)
    "char-usb_device",  # Edge TPU on USB: libusb opens /dev/bus/usb
    "char-video4linux",  # cameras
    "char-media",  # camera pipelines
    "char-dma_heap",  # buffers of libcamera
    "char-drm",  # GPU and NPU delegates
    "char-vcio",  # the Raspberry Pi's firmware: vcgencmd
    "char-gpiochip",
)
"""Groups of /proc/devices; one that a board does not have means nothing (systemd.resource-control(5))."""
GROUPS = ("video", "render", "plugdev", "apex", "gpio")
"""Groups that own those devices on Raspberry Pi OS, Debian and Coral's images."""
WATCHDOG_S = 30
START_S = 600
"""Probing every runtime and delegate and loading every model may take minutes on a small board."""
STOP_S = 20
"""The agent ends within ten seconds by itself."""

_TEMPLATE = """\
# Written by: litefleet-agent service install
[Unit]
Description=litefleet agent: verified models, inference and telemetry
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
User={user}
{groups}WatchdogSec={watchdog_s}
TimeoutStartSec={start_s}
TimeoutStopSec={stop_s}
Restart=always
RestartSec=5
RestartPreventExitStatus=2
KillMode=mixed
StandardOutput=journal
StandardError=journal
SyslogIdentifier=litefleet-agent

# Memory: the kernel ends what takes too much, here and not elsewhere on the board.
MemoryMax={memory_max}
MemoryAccounting=yes
OOMPolicy=continue
LimitCORE=0

# Files
ProtectSystem=strict
ProtectHome={protect_home}
PrivateTmp=yes
{folders}
UMask=0027

# Devices
DevicePolicy=closed
{devices}

# Everything else
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
LockPersonality=yes
MemoryDenyWriteExecute={deny_write_execute}
PrivateIPC=yes
PrivateMounts=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
KeyringMode=private
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class UnitPlan:
    """What is to be known for a unit.

    Attributes:
        program: The ``litefleet-agent`` that is to run.
        config: Its agent.toml.
        state_dir: As the configuration says.
        run_dir: As the configuration says.
        user: Who runs it.
        groups: Supplementary groups; each must exist on the board.
        memory_max: As systemd takes it: ``75%``, ``350M``.
        has_external_delegates: Whether the configuration names delegate libraries, which may make code as they run.
    """

    program: PurePath
    config: PurePath
    state_dir: PurePath
    run_dir: PurePath
    user: str
    groups: Sequence[str] = ()
    memory_max: str = "75%"
    has_external_delegates: bool = False


def plan_unit(plan: UnitPlan) -> str:
    """The unit's text.

    Raises:
        ConfigError: A path cannot stand in a unit.
    """
    paths = (plan.program, plan.config, plan.state_dir, plan.run_dir)
    faults = [f"{path}: {fault}" for path in paths for fault in _path_faults(path)]
    if faults:
        raise ConfigError("no unit can be written", faults=faults)
    is_at_home = any(path.parts[1:2] in {("home",), ("root",)} for path in paths)
    folders = [
        _folder_line(plan.state_dir, PurePath("/var/lib"), "StateDirectory"),
        _folder_line(plan.run_dir, PurePath("/run"), "RuntimeDirectory"),
    ]
    return _TEMPLATE.format(
        command=f"{plan.program} run --config {plan.config}",
        user=plan.user,
        groups=f"SupplementaryGroups={' '.join(plan.groups)}\n" if plan.groups else "",
        watchdog_s=WATCHDOG_S,
        start_s=START_S,
        stop_s=STOP_S,
        memory_max=plan.memory_max,
        protect_home="read-only" if is_at_home else "yes",
        folders="\n".join(folders),
        devices="\n".join(f"DeviceAllow={device} rw" for device in DEVICES),
        deny_write_execute="no" if plan.has_external_delegates else "yes",
    )


def _folder_line(folder: PurePath, base: PurePath, key: str) -> str:
    if base in folder.parents:
        return f"{key}={folder.relative_to(base)}\n{key}Mode=0750"
    return f"ReadWritePaths={folder}"


def _path_faults(path: PurePath) -> list[str]:
    if not path.is_absolute() or ".." in path.parts:
        return ["must be absolute, without '..'"]
    # What systemd would read as a specifier, a quote, a variable or two words (systemd.service(5)).
    odd = sorted({letter for letter in str(path) if letter in "%$\"'\\;" or not letter.isprintable()})
    odd += [" "] if " " in str(path) else []
    return [f"{', '.join(map(repr, odd))} cannot stand in it"] if odd else []

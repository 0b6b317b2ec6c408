from __future__ import annotations

import pytest

from contract.errors import ConfigError
from contract.topics import SERVER
from server.broker.configuration import (
    BrokerSettings,
    may_read,
    may_write,
    parse_passwords,
    render_access,
    render_passwords,
    render_settings,
)

PREFIX = "litefleet/v1"


def settings(folder: str = "/srv/fleet one/broker") -> BrokerSettings:
    return BrokerSettings(host="127.0.0.1", port=1883, prefix=PREFIX, folder=folder, system_user="fleet")


def test_the_settings_let_nobody_in_without_a_password_and_keep_what_was_acknowledged() -> None:
    lines = render_settings(settings()).splitlines()
    assert {
        "user fleet",
        "listener 1883 127.0.0.1",
        "allow_anonymous false",
        "use_username_as_clientid true",
        "password_file /srv/fleet one/broker/passwords",
        "acl_file /srv/fleet one/broker/access",
        "autosave_on_changes true",
        "autosave_interval 1",
        "set_tcp_nodelay true",
    } <= set(lines)


def test_a_folder_that_would_break_the_settings_is_refused() -> None:
    with pytest.raises(ConfigError, match="folder"):
        render_settings(settings("/srv/a\nallow_anonymous true"))


def test_the_access_file_is_two_lines_for_all_devices_and_one_for_the_server() -> None:
    assert render_access(PREFIX) == (
        "user _server\n"
        "topic readwrite litefleet/v1/#\n"
        "\n"
        "pattern write litefleet/v1/%u/up/#\n"
        "pattern read litefleet/v1/%u/dn/#\n"
        "pattern read litefleet/v1/_server/state\n"
    )


def test_the_password_file_reads_back() -> None:
    hashes = {"b": "$7$101$salt$hash", "a": "$7$101$x$y"}
    assert render_passwords(hashes) == "a:$7$101$x$y\nb:$7$101$salt$hash\n"
    assert parse_passwords(render_passwords(hashes)) == hashes
    assert parse_passwords("no colon\n\n") == {}


@pytest.mark.parametrize(
    ("user", "topic", "write", "read"),
    [
        ("pi", "litefleet/v1/pi/up/state", True, False),
        ("pi", "litefleet/v1/pi/dn/desired", False, True),
        ("pi", "litefleet/v1/pi/dn/#", False, True),
        ("pi", "litefleet/v1/_server/state", False, True),
        ("pi", "litefleet/v1/pi2/up/state", False, False),
        ("pi", "litefleet/v1/pi2/dn/desired", False, False),
        ("pi", "litefleet/v1/+/dn/desired", False, False),
        ("pi", "litefleet/v1/pi/#", False, False),
        ("pi", "litefleet/v1/pi/up", False, False),
        ("pi", "other/pi/up/state", False, False),
        ("pi", "#", False, False),
        (SERVER, "litefleet/v1/pi/dn/desired", True, True),
        (SERVER, "litefleet/v1/+/up/#", True, True),
        (SERVER, "litefleet/v1/_server/state", True, True),
        (SERVER, "other/pi/dn/desired", False, False),
    ],
)
def test_who_may_what(user: str, topic: str, *, write: bool, read: bool) -> None:
    assert (may_write(user, topic, PREFIX), may_read(user, topic, PREFIX)) == (write, read)

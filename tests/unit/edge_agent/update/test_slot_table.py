from __future__ import annotations

from edge_agent.update.slot_table import EMPTY, SlotContent, SlotTable

GOOD = SlotContent(version="1.0.0", variant="int8", digest="a" * 64, good=True)
NEW = SlotContent(version="1.1.0", variant="int8", digest="b" * 64)


def test_an_empty_device_fills_slot_a() -> None:
    table = SlotTable()
    assert (table.active, table.inactive, table.running) == ("", "a", EMPTY)
    assert table.good_name() == ""


def test_a_deployment_fills_the_slot_that_is_not_active() -> None:
    assert SlotTable(active="a", a=GOOD).inactive == "b"
    assert SlotTable(active="b", b=GOOD).inactive == "a"


def test_one_slot_is_replaced_and_the_other_stays() -> None:
    table = SlotTable(active="a", a=GOOD).with_slot("b", NEW)
    assert (table.a, table.b, table.running) == (GOOD, NEW, GOOD)


def test_a_good_active_slot_stays_when_rolling_back() -> None:
    assert SlotTable(active="a", a=GOOD, b=NEW).good_name() == "a"


def test_rolling_back_leaves_a_slot_that_is_not_good() -> None:
    assert SlotTable(active="b", a=GOOD, b=NEW).good_name() == "a"
    assert SlotTable(active="b", b=NEW).good_name() == ""


def test_the_new_slot_is_found_before_and_after_the_switch() -> None:
    assert SlotTable(active="a", a=GOOD, b=NEW).holds_new("1.1.0") == "b"
    assert SlotTable(active="b", a=GOOD, b=NEW).holds_new("1.1.0") == "b"
    assert SlotTable(a=NEW).holds_new("1.1.0") == "a"


def test_a_good_slot_of_the_same_version_is_not_the_new_one() -> None:
    assert SlotTable(active="a", a=GOOD, b=NEW).holds_new("1.0.0") == ""

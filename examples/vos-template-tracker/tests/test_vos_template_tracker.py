"""Does the tracker keep the contract? A test for each clause; `vos plugin contract tracker` prints them."""

from vos.testing import check_plugin, contract_test

test_contract = contract_test("template-tracker", min_iou=0.8)


def test_the_plugin_can_be_listed() -> None:
    assert check_plugin("vos_template_tracker") == ["template-tracker"]

"""The IBM Telco layout: what becomes of its words, blanks and repeated lines, and of those that it does not know."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from unit.churn.tables import CHURN, SOURCE, csv, lines, parsed

from pipelines.contract import Checked, check
from pipelines.errors import ContractError, NotFoundError
from pipelines.use_cases.churn.telco import DAY, FIELDS, MONTH, NEXT_DAY
from pipelines.window import Window

ALL = Window(MONTH, NEXT_DAY)
LINE = lines(1)[0] | {"customerID": "0001-A", "tenure": 13, "Churn": "No"}


def _checked(name: str, *rows: dict[str, Any]) -> Checked:
    return check(CHURN.dataset(name), parsed(name, csv(list(rows))), ALL)


def test_a_line_becomes_a_customer_a_contract_and_a_bill() -> None:
    (customer,) = _checked("customers", LINE | {"SeniorCitizen": "1", "Partner": "No"}).accepted.to_dicts()
    assert (customer["customer_id"], customer["day"], customer["left_on"]) == ("0001-A", DAY, None)
    assert (customer["is_senior"], customer["has_partner"]) == (True, False)
    assert customer["joined_on"] == date(2016, 8, 1), "thirteen months before the month of the table"
    (contract,) = _checked("contracts", LINE | {"Contract": "Two year"}).accepted.to_dicts()
    assert (contract["contract"], contract["started_on"]) == ("Two year", None)
    (bill,) = _checked("usage", LINE | {"MonthlyCharges": "29.85", "TotalCharges": "108.15"}).accepted.to_dicts()
    assert (bill["month"], bill["charge_usd"], bill["total_charge_usd"]) == (MONTH, 29.85, 108.15)


def test_who_left_has_a_second_version_that_is_known_a_month_later() -> None:
    versions = _checked("customers", LINE | {"Churn": "Yes"}).accepted.sort("day")
    assert versions.select("day", "left_on").rows() == [(DAY, None), (NEXT_DAY, NEXT_DAY)]


def test_blanks_are_no_value_whatever_the_column() -> None:
    blank = LINE | dict.fromkeys(FIELDS, " ") | {"customerID": "0001-A", "Churn": "No"}
    for name, kept in (("customers", {"customer_id", "day"}), ("contracts", {"contract_id", "customer_id", "day"}),
                       ("usage", {"customer_id", "month"})):  # fmt: skip
        checked = _checked(name, blank)
        assert checked.quarantined.is_empty()
        (row,) = checked.accepted.to_dicts()
        assert {column for column, value in row.items() if value is not None} == kept


def test_a_service_without_what_it_needs_is_neither_yes_nor_no() -> None:
    without = {"PhoneService": "No", "MultipleLines": "No phone service", "TechSupport": "No internet service"}
    (contract,) = _checked("contracts", LINE | without).accepted.to_dicts()
    assert (contract["has_tech_support"], contract["has_multiple_lines"], contract["has_phone"]) == (None, None, False)


def test_words_that_a_text_has_not_had_before_are_kept() -> None:
    other = LINE | {
        "Contract": "Three year",
        "PaymentMethod": "Crypto",
        "gender": "Diverse",
        "InternetService": "Cable",
    }
    assert _checked("contracts", other).accepted.select("contract", "internet_service").row(0) == (
        "Three year",
        "Cable",
    )
    assert _checked("customers", other).accepted.select("gender", "payment_method").row(0) == ("Diverse", "Crypto")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("Churn", "", "Churn is missing"),
        ("Churn", "perhaps", "Churn is neither yes nor no"),
        ("Partner", "maybe", "Partner is neither yes nor no"),
        ("tenure", "long", "tenure is not a number of months"),
        ("tenure", "-1", "tenure is not a number of months"),
        ("customerID", " ", "customer_id is missing"),
    ],
)
def test_a_line_that_cannot_be_used_is_quarantined_with_its_reason(field: str, value: str, reason: str) -> None:
    good = LINE | {"customerID": "0002-B"}
    checked = _checked("customers", LINE | {field: value}, good)
    assert checked.accepted["customer_id"].to_list() == ["0002-B"]
    assert checked.quarantined["reason"].to_list() == [reason]
    assert "0001-A" in checked.quarantined["raw"][0] or field == "customerID"


def test_lines_that_differ_only_in_the_number_are_different_customers_and_a_number_counts_once() -> None:
    twin = LINE | {"customerID": "0002-B"}
    checked = _checked("contracts", LINE, twin, LINE | {"Contract": "One year"})
    assert checked.accepted["customer_id"].to_list() == ["0001-A", "0002-B"]
    assert checked.quarantined["reason"].to_list() == ["doubled: contract_id, day occurs more than once"]


@pytest.mark.parametrize(("first", "second", "days"), [("No", "Yes", [DAY]), ("Yes", "No", [DAY, NEXT_DAY])])
def test_of_a_number_given_twice_the_first_line_says_whether_they_left_in_one_table_or_two(
    first: str, second: str, days: list[date]
) -> None:
    one, other = LINE | {"Churn": first}, LINE | {"Churn": second, "gender": "Other"}
    for tables in ([csv([one, other])], [csv([one]), csv([other])]):
        checked = check(CHURN.dataset("customers"), parsed("customers", *tables), ALL)
        assert checked.accepted["day"].to_list() == days
        assert "Other" not in checked.accepted["gender"].to_list()
        assert checked.quarantined["reason"].to_list() == ["doubled: customer_id, day occurs more than once"]


def test_a_first_line_that_cannot_be_used_leaves_the_word_to_the_second() -> None:
    checked = _checked("customers", LINE | {"Churn": "perhaps"}, LINE | {"Churn": "Yes"})
    assert checked.accepted["day"].to_list() == [DAY, NEXT_DAY]
    nobody = LINE | {"customerID": " ", "Churn": "Yes"}
    assert _checked("customers", nobody).quarantined["reason"].to_list() == ["customer_id is missing"]


def test_columns_may_stand_in_another_order_and_others_beside_them() -> None:
    rows = [LINE | {"Region": "West"}]
    turned = csv(rows, ("Region", *reversed(FIELDS)))
    for name in ("customers", "contracts", "usage"):
        plain, other = (parsed(name, body).drop("row") for body in (csv(rows), b"\xef\xbb\xbf" + turned))
        assert plain.equals(other)


def test_a_table_without_one_of_the_columns_is_refused() -> None:
    with pytest.raises(ContractError, match=r"table\.csv has no field 'tenure'; was it renamed to 'Tenure'"):
        parsed("customers", csv([LINE]).replace(b"tenure", b"Tenure"))
    with pytest.raises(ContractError, match="no field 'customerID'"):
        parsed("customers", b"nothing,else")
    with pytest.raises(ContractError, match="is no CSV"):
        parsed("customers", b"nothing")


def test_a_line_with_more_cells_than_names_is_quarantined_whole_since_its_words_may_have_moved() -> None:
    good = LINE | {"customerID": "0002-B"}
    longer = csv([LINE, good]).replace(b"0001-A,", b"0001-A,Smith,")
    for name in ("customers", "contracts", "usage"):
        checked = check(CHURN.dataset(name), parsed(name, longer), ALL)
        assert checked.accepted["customer_id"].to_list() == ["0002-B"]
        assert checked.quarantined["reason"].to_list() == ["has more cells than the header has names"]
        assert "0001-A,Smith," in checked.quarantined["raw"][0]


def test_a_table_without_lines_and_a_letter_of_another_encoding_are_read() -> None:
    assert parsed("customers", csv([])).is_empty()
    (customer,) = check(
        CHURN.dataset("customers"), parsed("customers", csv([LINE]).replace(b"0001-A", b"0001-\xe9")), ALL
    ).accepted.to_dicts()
    assert customer["customer_id"] == "0001-\ufffd"


def test_no_table_at_a_path_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"There is no \.csv file"):
        SOURCE.RECORDED["csv"].find(tmp_path)


def test_the_recorded_table_is_accepted_whole(recordings: Path) -> None:
    found = SOURCE.RECORDED["csv"].find(recordings / "churn")
    checked = {
        name: check(CHURN.dataset(name), parsed(name, received[0].body), ALL) for name, received in found.items()
    }
    assert [one.quarantined.height for one in checked.values()] == [0, 0, 0]
    assert checked["contracts"].accepted.height == checked["usage"].accepted.height == 7043
    assert checked["customers"].accepted.height == 7043 + 1869
    unbilled = checked["usage"].accepted.filter(pl.col("total_charge_usd").is_null())
    joined = checked["customers"].accepted.filter(pl.col("joined_on") == MONTH)
    assert unbilled.height == 11
    assert set(unbilled["customer_id"]) == set(joined["customer_id"]), "who joined in the month"

"""Corporate actions: what their texts mean, and the forms that they come in."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from unit.equities.files import Answer, checked, reasons, zipped

from pipelines.contract import Checked
from pipelines.errors import ContractError
from pipelines.use_cases.equities import source
from pipelines.use_cases.equities.purposes import meaning_of

BUNDLE = "SERIES,SYMBOL,SECURITY,RECORD_DT,BC_STRT_DT,BC_END_DT,EX_DT,ND_STRT_DT,ND_END_DT,PURPOSE"
DOWNLOAD = (
    '"SYMBOL","COMPANY NAME","SERIES","PURPOSE","FACE VALUE","EX-DATE","RECORD DATE","BOOK CLOSURE START DATE",'
    '"BOOK CLOSURE END DATE"'
)
OLD_DOWNLOAD = (
    '"Symbol","Company","Industry","Series","Face Value(Rs.)","Purpose","Ex-Date","Record Date","BC Start Date",'
    '"BC End Date","No Delivery Start Date","No Delivery End Date"'
)


@pytest.mark.parametrize(
    ("purpose", "factor"),
    [
        ("FVSPLT FRM RS 10 TO RS 2", 5),
        ("FV SPLT FRM RS 2 TO RE 1", 2),
        ("FVSPLTFRM10TO1", 10),
        ("FV SPLT FRM RS 10 TO 2", 5),
        ("FV SPLT2503.61TO250.361", 10),
        ("FV SPLIT RS.10/- TO RS.2/-", 5),
        ("Fv Split Rs.10/- To Re.1/", 10),
        ("FV SPLIT- RS 10 TO RE 1", 10),
        ("FV SPL FRM RS 10 TO RE 1", 10),
        ("DIV 1.35+FV SPL RS10TORS2", 5),
        ("AGM/DIVRS10/STK SPT10 TO1", 10),
        ("SPL RS10-RS2", 5),
        ("Split-Rs.10tors.2/Div-60%Purpose Revised", 5),
        ("SUB DIV FRM RS 10 TO RS 2", 5),
        ("SUB - DIVISION FROM RS 10 TO RS 1", 10),
        ("Face Value Split From Rs 10 To Re 1 (Record Date Revised)", 10),
        ("Face Value Split Rs 10 To Rs 1", 10),
        ("Face Value Split (Sub-Division) - From Rs 10/- Per Share To Rs 2/- Per Share", 5),
        ("Face Value Split (Sub-Division) - From Rs 5/- Per Share To Rs 2/- Per Share", 2.5),
        ("Face Value Split (Sub-Division) - From Rs10/- Per Share To Re 1/- Per Share", 10),
        ("Face Value Split (Sub-Division) - From Rs 10 /- Per Share To Re 1/- Per Share", 10),
        ("Face Value Split (Sub-Division): From Rs 10/- Per Share To Re 1/- Per Share", 10),
        ("Face Valus Split (Sub-Division) - From Rs 10/- Per To Rs 2/- Per Share", 5),
        ("Face Value Split From Rs 10 To Rs 1 / Dividend - Rs 5 Per Share", 10),
        ("Interim Dividend - Rs 1.50/- Per Share / Face Value Split - From Rs 10/- Per Share To Rs 5/- Per Share", 2),
    ],
)
def test_a_split_says_how_many_shares_one_becomes(purpose: str, factor: float) -> None:
    found = meaning_of(purpose)
    assert (found.kind, found.split_factor, found.bonus_factor) == ("split", factor, None)


@pytest.mark.parametrize(
    ("purpose", "factor"),
    [
        ("BONUS 2:1", 3),
        ("Bonus 1:2", 1.5),
        ("Bonus 3:5", 1.6),
        ("Bonus- 1:1", 2),
        ("Bonus 1: 1", 2),
        ("BONUS ISSUE 1 : 1", 2),
        ("Bonus Issue of 1:1", 2),
        ("Bonus Shares In The Ratio Of 1:1", 2),
        ("Bonus 1 : 1250", 1.0008),
        ("BONUS28:100", 1.28),
        ("BON-2:1", 3),
        ("AGM/DIV-2.50/BONUS 1:10", 1.1),
        ("Intdiv-Rs 3persh/Bonus1:1", 2),
        ("Annual General Meeting/ Dividend - Rs 29.50/- Per Share And Bonus 1:1", 2),
        ("Annual General Meeting / Dividend - Rs 3/- Per Share / Bonus - 1:2", 1.5),
        ("BONUS 1:1 AND RIGHTS 1:2", 2),
        ("  bonus   1:1  (Revised)", 2),
    ],
)
def test_a_bonus_of_a_for_b_makes_one_plus_a_over_b_of_one(purpose: str, factor: float) -> None:
    found = meaning_of(purpose)
    assert (found.kind, found.split_factor) == ("bonus", None)
    assert found.bonus_factor == pytest.approx(factor)


@pytest.mark.parametrize(
    ("purpose", "split", "bonus"),
    [
        ("BONUS 1:1/ FV SPLIT RS.10/- TO RE.1/-", 10, 2),
        ("BON-1:25/SPLIT RS10TORS.5", 2, 1.04),
        ("BONUS1:1/FV SPL-RS10TORS5", 2, 2),
        ("BONUS 2:1/FVS RS.5TORE.1", 5, 3),
        ("BONUS 1:1/FV SPL 10 TO 2", 5, 2),
        ("BON 1:2/SPLIT RS.10TORS.2", 5, 1.5),
        ("Spl-Rs10 To Rs2/Bonus-1:2", 5, 1.5),
        ("Fv Spl-Rs10tors5/Bon-2:1", 2, 3),
        ("Bonus 1:1 And Face Value Split Rs.10/- To Rs.5/- Per Share", 2, 2),
        ("Bonus - 1:1 And Face Value Split From Rs. 10 To Rs. 2", 5, 2),
        ("Face Value Split (Sub-Division) - From Rs 10/- Per Share To Rs 2/- Per Share And Bonus 1:1", 5, 2),
    ],
)
def test_a_split_and_a_bonus_in_one_text_are_both_read(purpose: str, split: float, bonus: float) -> None:
    found = meaning_of(purpose)
    assert (found.kind, found.split_factor, found.bonus_factor) == ("split and bonus", split, bonus)


@pytest.mark.parametrize(
    "purpose",
    [
        "Consolidation Re 1 to Rs 10",
        "CONSOLIDATION RE.1/- TO RS.10/-",
        "CNSLDATN RE 1 TO RS 10",
        "FV CONSOLDTN FRM RS 1 TO RS 10",
        "Consolidation Of Equity Shares From Re 1 Per Share To Rs 10 Per Share",
        "Capital Reduction Rs 10 To Rs 1 / Consolidation Rs 1 To Rs.10",
    ],
)
def test_a_consolidation_makes_less_than_one_of_one(purpose: str) -> None:
    found = meaning_of(purpose)
    assert (found.kind, found.split_factor) == ("consolidation", 0.1)


@pytest.mark.parametrize(
    ("purpose", "kind"),
    [
        ("Face Value Split", "split"),
        ("FV SPLIT FROM RS10 TO RS", "split"),
        ("FV SPLT FRM RS 177.27 TO", "split"),
        ("Face Value Split - details awaited", "split"),
        ("Face Value Split (Ratio Awaited) Record Date Moved From 10 To 2 March", "split"),
        ("Face Value Split From Rs 1 To Rs 10", "split"),
        ("Face Value Split From Rs 10 To Rs 10", "split"),
        ("Face Value Split From Rs 10 To Rs 0", "split"),
        ("CAP REDN/CONSOLIDATION", "consolidation"),
        ("Consolidation Of Equity Shares From Rs 10 Per Share To Re 1 Per Share", "consolidation"),
        ("Bonus", "bonus"),
        ("AGM/DIV-RS 29.50/BONUS", "bonus"),
        ("Bonus 1:0", "bonus"),
        ("Bonus Issue Pending / Rights 3:7", "bonus"),
    ],
)
def test_numbers_that_cannot_be_read_leave_the_kind_and_no_factor(purpose: str, kind: str) -> None:
    found = meaning_of(purpose)
    assert (found.kind, found.split_factor, found.bonus_factor) == (kind, None, None)


@pytest.mark.parametrize(
    ("purpose", "kind"),
    [
        ("INTDIV- RS12 SPLDV RS 6", "dividend"),
        ("INTDIV - RS 4.50 PER SH", "dividend"),
        ("SPL INT DIV-RS.13.5 PR SH", "dividend"),
        ("INTDIV-RS6SPLINTDIV-RS10", "dividend"),
        ("DV-RE.1 PR SH", "dividend"),
        ("Dividend - Rs 10 Per Share/Special Dividend - Rs 30 Per Share", "dividend"),
        ("AGM/DIV-RS3/BON DEB 1:1", "dividend"),
        ("RIGHTS 1:2 @ PRM RS 1/-", "rights"),
        ("RGHTS 2:21 @PRM RS 748/-", "rights"),
        ("RHTS 5:12@PRM RS.35 PR SH", "rights"),
        ("RH2:9@PRM215", "rights"),
        ("Rights - 7 Ccps And 7 Warrants:40", "rights"),
        ("Interim Dividend - Rs 3 Per Share / Rights 1:2", "rights"),
        ("Bonus Debentures / Rights 1:15 @ Premium Rs 1247", "rights"),
        ("EGM", "other"),
        ("INTEREST PAYMENT", "other"),
        ("Demerger", "other"),
        ("Buy Back", "other"),
        ("Annual General Meeting / Splitting Of Share Certificates From Rs 10 To Rs 2", "other"),
        ("SCH AGMT-BONUS NCRPS 4:1", "other"),
        ("Bonus Preference Shares 21:1", "other"),
        ("Bonus Debentures 6:1", "other"),
        ("Sch Of Agmt- Bonus Deb1:1", "other"),
        ("Bonus 1 Dvr : 10 Eq Share", "other"),
        ("Bonus 1:10 Dvr", "other"),
        ("Scheme Of Arangement- Bonus - 1 Debenture For 1 Equity Share Held", "other"),
        ("", "other"),
        ("-", "other"),
    ],
)
def test_what_leaves_the_number_of_shares_as_it_was_has_no_factor(purpose: str, kind: str) -> None:
    found = meaning_of(purpose)
    assert (found.kind, found.split_factor, found.bonus_factor) == (kind, None, None)


# --- the forms


def actions(*answers: Answer, form: str = "csv") -> Checked:
    return checked(*answers, dataset="actions", form=form)


def bundle(*rows: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (BUNDLE, *rows, "")).encode()


def test_the_book_closures_of_a_bundle_are_read() -> None:
    found = actions(
        ("Bc160125.csv", bundle("EQ,ALPHA,Alpha Ltd,17/01/2025, , ,17/01/2025, , ,FVSPLT  FRM RS 10 TO RS 2    "), {})
    )
    assert found.accepted.to_dicts() == [
        {"symbol": "ALPHA", "series": "EQ", "day": date(2025, 1, 17), "purpose": "FVSPLT FRM RS 10 TO RS 2",
         "company": "Alpha Ltd", "isin": None, "kind": "split", "split_factor": 5.0, "bonus_factor": None}
    ]  # fmt: skip


def test_a_bundle_may_write_its_days_as_iso() -> None:
    found = actions(("bc18092026.csv", bundle("EQ,ALPHA,Alpha,2026-09-11,,,2026-09-11,,,BONUS 1:1"), {}))
    assert found.accepted["day"].to_list() == [date(2026, 9, 11)]


def test_debt_is_kept_and_an_action_without_an_ex_date_is_quarantined() -> None:
    rows = (
        "NA,BOND,Some Bond,17/01/2025, , ,17/01/2025, , ,INTEREST PAYMENT",
        "SG,LOAN,A Loan,27/01/2025, , , , , ,REDEMPTION",
    )
    found = actions(("Bc160125.csv", bundle(*rows), {}))
    assert found.accepted.select("symbol", "series", "kind").rows() == [("BOND", "NA", "other")]
    assert reasons(found) == ["day is missing"]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (DOWNLOAD, '"ALPHA","Alpha, Limited","EQ"," Bonus 1:2","10","05-Aug-2021","06-Aug-2021","-","-"'),
        (OLD_DOWNLOAD, '"ALPHA","Alpha, Limited","-","EQ","10","Bonus 1:2","05-Aug-2021","-","-","-","-","-"'),
    ],
    ids=["present", "old"],
)
def test_the_websites_downloads_are_read(header: str, row: str) -> None:
    found = actions(("CF-CA-equities.csv", f"\ufeff{header}\n{row}\n".encode(), {}))
    assert found.accepted.select("symbol", "day", "purpose", "company", "bonus_factor").rows() == [
        ("ALPHA", date(2021, 8, 5), "Bonus 1:2", "Alpha, Limited", 1.5)
    ]


def notice(**changes: object) -> dict[str, object]:
    return {
        "symbol": "ALPHA", "series": "EQ", "ind": "-", "faceVal": "10", "subject": "Bonus 2:1", "exDate": "17-Oct-2023",
        "recDate": "17-Oct-2023", "comp": "Alpha Limited", "isin": "INE000A01011", "caBroadcastDate": None,
    } | changes  # fmt: skip


def website(*notices: dict[str, object]) -> Checked:
    return actions(("address", json.dumps(notices).encode(), {}), form="json")


def test_the_websites_answer_is_read() -> None:
    found = website(notice(), notice(symbol="BETA", isin="-", exDate="-"))
    assert found.accepted.to_dicts() == [
        {"symbol": "ALPHA", "series": "EQ", "day": date(2023, 10, 17), "purpose": "Bonus 2:1",
         "company": "Alpha Limited", "isin": "INE000A01011", "kind": "bonus", "split_factor": None, "bonus_factor": 3.0}
    ]  # fmt: skip
    assert reasons(found) == ["day is missing"]
    assert website().received == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>Access Denied</html>", "address is not JSON"),
        (b'[{"symbol": "ALPHA"', "address is not JSON"),
        (b'{"message": "no"}', "is not a list of corporate actions"),
        (b"[1, 2]", "is not a list of corporate actions"),
        (
            b"[%s]" % json.dumps(notice()).replace("exDate", "exdt").encode(),
            "no field 'exDate'; was it renamed to 'exdt'",
        ),
    ],
)
def test_an_answer_of_another_shape_is_a_broken_contract(body: bytes, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        actions(("address", body, {}), form="json")


def test_one_list_that_is_broken_keeps_no_other_out() -> None:
    good = bundle("EQ,ALPHA,Alpha Ltd,17/01/2025, , ,17/01/2025, , ,BONUS 2:1")
    found = actions(("good", good, {}), ("bad", good.replace(b"PURPOSE", b"REASON"), {}), ("cut", good[:-9], {}))
    assert found.accepted["symbol"].to_list() == ["ALPHA"]
    assert sorted(reason.split(" ")[0] for reason in reasons(found)) == ["The", "cut"]


def test_a_notice_that_each_days_bundle_repeats_is_one_row_and_a_repeated_line_is_doubled() -> None:
    line = "EQ,ALPHA,{},17/01/2025, , ,17/01/2025, , ,BONUS 2:1"
    found = actions(("first", bundle(line.format("Alfa")), {}), ("second", bundle(line.format("Alpha")), {}))
    assert (found.accepted["company"].to_list(), reasons(found)) == (["Alpha"], [])
    found = actions(("first", bundle(line.format("Alpha"), line.format("Alpha")), {}))
    assert reasons(found) == ["doubled: symbol, series, day, purpose occurs more than once"]


def test_a_list_of_multipliers_is_of_the_series_eq() -> None:
    found = actions(
        ("list.csv", b"Symbol,Date,Multiplier\nALPHA,20130128,2\nBETA,20120622,1.67\nGAMMA,20120622,x\n", {})
    )
    assert found.accepted.to_dicts()[1] == {
        "symbol": "BETA", "series": "EQ", "day": date(2012, 6, 22), "purpose": "multiplier", "company": None,
        "isin": None, "kind": "multiplier", "split_factor": 1.67, "bonus_factor": None,
    }  # fmt: skip
    assert reasons(found) == ["split_factor is not a float"]


# --- which files of a folder they are


def test_actions_are_found_in_bundles_lists_and_answers_and_other_files_are_left_alone(tmp_path: Path) -> None:
    good = bundle("EQ,ALPHA,Alpha Ltd,17/01/2025, , ,17/01/2025, , ,BONUS 2:1")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "PR160125.zip").write_bytes(
        zipped(
            ("PR160125/Bc160125.csv", good), ("PR160125/Pd160125.csv", b"MKT,SERIES,SYMBOL,SECURITY\n"), ("x.txt", b"")
        )
    )
    (tmp_path / "PR170125.zip").write_bytes(b"PK\x03\x04 cut")
    (tmp_path / "bc18092026.csv").write_bytes(good)
    (tmp_path / "Pd160125.csv").write_bytes(b"MKT,SERIES,SYMBOL,SECURITY,PREV_CL_PR\nY, , ,Nifty 50,23213.20\n")
    (tmp_path / "download.csv").write_bytes(f"{DOWNLOAD}\n".encode())
    (tmp_path / "answer.json").write_bytes(json.dumps([notice()]).encode())
    (tmp_path / "status.json").write_bytes(b'[{"market": "closed"}]')
    (tmp_path / "list.csv").write_bytes(b"Symbol,Date,Multiplier\nALPHA,20130128,2\n")
    found = source.RECORDED["actions"].find(tmp_path)["actions"]
    assert [item.request for item in found] == [
        "PR170125.zip", "answer.json", "bc18092026.csv", "PR160125.zip/PR160125/Bc160125.csv", "download.csv"
    ]  # fmt: skip
    assert [item.format for item in found] == ["csv", "json", "csv", "csv", "csv"]
    assert [item.request for item in source.RECORDED["multipliers"].find(tmp_path)["actions"]] == ["list.csv"]

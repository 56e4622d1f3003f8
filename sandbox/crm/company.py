"""The simulated company: who joins, what they are billed, how they change, and who leaves.

Each customer has a random generator of their own, and their months follow each other: a later `until` adds events,
and changes none. What a real CRM does to its readers is in it: rows that are committed a day or two after the time that
they carry, changes that nobody marks (a script run by hand), rows deleted for good (requests to be forgotten).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any

CUSTOMERS, CONTRACTS, USAGE = "customers", "contracts", "monthly_usage"
PAYMENTS = ("Electronic check", "Mailed check", "Bank transfer (automatic)", "Credit card (automatic)")
KINDS = ("Month-to-month", "One year", "Two year")
INTERNET = ("Fiber optic", "DSL", "No")
ADD_ONS = (
    "has_online_security", "has_online_backup", "has_device_protection", "has_tech_support", "has_streaming_tv",
    "has_streaming_movies",
)  # fmt: skip
JOINING_A_MONTH = 0.03
"""Customers who join a month, as a share of those at the start."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a table says of a key from the evening of a day on: a row, or nothing any more."""

    committed: date
    table: str
    key: str
    row: dict[str, Any] | None


@dataclass(slots=True)
class Customer:
    """A customer as the simulation knows them, and the events so far."""

    number: int
    random: Random
    profile: dict[str, Any]
    contract: dict[str, Any]
    contracts: int = 1
    billed: float = 0.0
    trouble: float = 0.0
    """How bad the service has been lately; it makes calls to the hotline, and some leave over it."""
    events: list[Event] = field(default_factory=list)

    def say(self, day: date, table: str, key: str, row: dict[str, Any], *, late: int = 0, mark: bool = True) -> None:
        """A row is as given from that day on, committed so many days `late`; without a mark, it keeps its old time."""
        if mark:
            row["updated_at"] = datetime.combine(
                day, time(self.random.randrange(7, 20), self.random.randrange(60)), UTC
            )
        self.events.append(Event(day + timedelta(days=late), table, key, dict(row)))

    def forget(self, day: date) -> None:
        """All rows of the customer are deleted, and what was to be written of them is not."""
        self.events = [event for event in self.events if event.committed < day]
        said = {(event.table, event.key) for event in self.events}
        self.events += [Event(day, table, key, None) for table, key in sorted(said)]


def events(start: date, until: date, size: int, seed: int = 7) -> Iterator[Event]:
    """Everything that is committed up to a day, in the order of the customers.

    Args:
        start: first of the month in which the CRM begins to keep usage.
        until: last day.
        size: how many customers there are at the start.
        seed: another company.
    """
    for number in range(size):
        yield from _life(number, start, None, until, seed)
    month, number = start, size
    while month <= until:
        for _ in range(round(JOINING_A_MONTH * size)):
            yield from _life(number, start, month, until, seed)
            number += 1
        month = _next(month)


def _life(number: int, start: date, joining: date | None, until: date, seed: int) -> Iterator[Event]:
    random = Random(f"{seed} {number}")  # noqa: S311 - a simulation, no secret
    if joining is None:
        joined = start - timedelta(days=int(2000 * random.random() ** 1.6) + 1)
    else:
        joined = joining + timedelta(days=random.randrange(28))
    customer = _new(number, random, joined)
    month = max(start, joined.replace(day=1))
    while month <= until:
        if not _month(customer, month):
            break
        month = _next(month)
    yield from (event for event in customer.events if event.committed <= until)


def _new(number: int, random: Random, joined: date) -> Customer:
    internet = random.choices(INTERNET, (45, 35, 20))[0]
    kind = random.choices(KINDS, (58, 22, 20))[0]
    has_phone = internet == "No" or random.random() < 0.9
    add_ons = {name: None if internet == "No" else random.random() < 0.4 for name in ADD_ONS}
    lines = random.random() < 0.45 if has_phone else None
    price = {"Fiber optic": 50.0, "DSL": 25.0, "No": 0.0}[internet] + 20.0 * has_phone + 5.0 * bool(lines)
    price += 6.0 * sum(bool(has) for has in add_ons.values())
    name = f"{10_000 + number}-{''.join(random.choices('ABCDEFGHJKLMNPRSTUVWXYZ', k=4))}"
    profile = {
        "customer_id": name,
        "gender": random.choice(("Female", "Male")),
        "is_senior": random.random() < 0.16,
        "has_partner": random.random() < 0.48,
        "has_dependents": random.random() < 0.3,
        "payment_method": random.choices(PAYMENTS, (34, 22, 22, 22))[0],
        "is_paperless": random.random() < 0.6,
        "joined_on": joined,
        "left_on": None,
    }
    contract = {
        "contract_id": f"{name}/1", "customer_id": name, "kind": kind, "has_phone": has_phone,
        "has_multiple_lines": lines, "internet_service": internet, **add_ons, "monthly_price": round(price, 2),
        "started_on": joined, "ended_on": None,
    }  # fmt: skip
    customer = Customer(number, random, profile, contract)
    customer.say(joined, CUSTOMERS, name, profile)
    customer.say(joined, CONTRACTS, f"{name}/1", contract)
    return customer


def _month(customer: Customer, month: date) -> bool:
    """What happens in a month, and is billed for it; whether the customer is still one at its end."""
    random = customer.random
    day = month + timedelta(days=random.randrange(28))
    if day > customer.profile["joined_on"]:
        if random.random() < _hazard(customer, month):
            _leave(customer, day)
        elif random.random() < 0.0006:
            customer.forget(day)
            return False
        elif random.random() < 0.012:
            _change_contract(customer, day)
        elif random.random() < 0.012:
            _change_profile(customer, day)
    # After the month's decision: people leave over what they have been through, and the hotline has heard of it
    customer.trouble = 0.5 * customer.trouble + (random.random() < 0.06) * random.uniform(1.0, 2.5)
    _bill(customer, month)
    if customer.profile["left_on"] is None:
        return True
    if random.random() < 0.15:
        customer.forget(customer.profile["left_on"] + timedelta(days=random.randrange(40, 75)))
    return False


def _hazard(customer: Customer, month: date) -> float:
    """The chance to leave within a month."""
    contract, profile = customer.contract, customer.profile
    tenure = (month.year - profile["joined_on"].year) * 12 + month.month - profile["joined_on"].month
    score = -5.4 + {"Month-to-month": 1.3, "One year": -0.6, "Two year": -1.9}[contract["kind"]]
    score += {"Fiber optic": 0.6, "DSL": 0.0, "No": -0.5}[contract["internet_service"]]
    score += 0.5 * (profile["payment_method"] == PAYMENTS[0]) + 0.3 * profile["is_senior"]
    score -= 0.4 * bool(contract["has_tech_support"]) + 0.3 * bool(contract["has_online_security"])
    score -= 0.35 * math.log1p(max(tenure, 0)) - 2.0 * customer.trouble
    return 1 / (1 + math.exp(-(score + 0.7)))


def _leave(customer: Customer, day: date) -> None:
    customer.profile["left_on"] = day
    customer.contract["ended_on"] = day
    customer.say(day, CUSTOMERS, customer.profile["customer_id"], customer.profile, late=_late(customer))
    customer.say(day, CONTRACTS, customer.contract["contract_id"], customer.contract)


def _change_contract(customer: Customer, day: date) -> None:
    """The old contract ends and another begins the next day."""
    random, old = customer.random, customer.contract
    old["ended_on"] = day
    customer.say(day, CONTRACTS, old["contract_id"], old)
    customer.contracts += 1
    number = f"{customer.profile['customer_id']}/{customer.contracts}"
    factor = random.choice((0.9, 1.0, 1.1, 1.2))
    customer.contract = {
        **old, "contract_id": number, "kind": random.choices(KINDS, (40, 40, 20))[0], "ended_on": None,
        "started_on": day + timedelta(days=1), "monthly_price": round(old["monthly_price"] * factor, 2),
    }  # fmt: skip
    customer.say(day, CONTRACTS, number, customer.contract)


def _change_profile(customer: Customer, day: date) -> None:
    random = customer.random
    customer.profile["payment_method"] = random.choice(PAYMENTS)
    customer.profile["is_paperless"] = random.random() < 0.7
    mark = random.random() < 0.85
    late = _late(customer) if mark else 0
    customer.say(day, CUSTOMERS, customer.profile["customer_id"], customer.profile, late=late, mark=mark)


def _late(customer: Customer) -> int:
    """Days until a change is committed."""
    return customer.random.randrange(1, 3) if customer.random.random() < 0.2 else 0


def _bill(customer: Customer, month: date) -> None:
    """The month's bill, which is written in the first days of the next one, and now and then corrected later."""
    random, contract = customer.random, customer.contract
    name = customer.profile["customer_id"]
    charge = round(contract["monthly_price"] + random.choice((0.0, 0.0, 0.0, random.uniform(0, 12))), 2)
    customer.billed = round(customer.billed + charge, 2)
    internet = contract["internet_service"]
    usual = {"Fiber optic": 5.0, "DSL": 3.6, "No": None}[internet]
    calls = sum(random.random() < 0.06 + 0.35 * customer.trouble for _ in range(6))
    row = {
        "customer_id": name,
        "month": month,
        "charge": charge,
        "total_charge": customer.billed,
        "data_gb": None if usual is None else round(math.exp(random.gauss(usual, 0.4)), 3),
        "support_calls": calls,
    }
    written = _next(month) + timedelta(days=8 if random.random() < 0.03 else random.randrange(3))
    customer.say(written, USAGE, f"{name} {month}", row)
    if random.random() < 0.02:
        row = {**row, "charge": round(charge * 0.9, 2)}
        customer.say(written + timedelta(days=random.randrange(5, 25)), USAGE, f"{name} {month}", row)


def _next(month: date) -> date:
    return (month + timedelta(days=31)).replace(day=1)

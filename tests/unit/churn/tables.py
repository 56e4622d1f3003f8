"""A table in the layout of IBM's Telco churn, made up: who leaves follows from contract, tenure and internet access."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from pipelines.landing import LandedObject
from pipelines.registry import get_use_case, part
from pipelines.use_cases.churn.telco import FIELDS, TELCO

CHURN = get_use_case("churn")
SOURCE = part(CHURN, "source")
ADD_ONS = ("OnlineSecurity", "OnlineBackup", "DeviceProtection", "TechSupport", "StreamingTV", "StreamingMovies")


def lines(count: int, seed: int = 1) -> list[dict[str, Any]]:
    random = Random(seed)
    return [_line(number, random) for number in range(count)]


def _line(number: int, random: Random) -> dict[str, Any]:
    tenure, internet = random.randrange(73), random.choice(("DSL", "Fiber optic", "No"))
    contract = random.choice(("Month-to-month", "One year", "Two year"))
    charge = round(20 + 40 * (internet != "No") + 20 * random.random(), 2)
    score = {"Month-to-month": 1.2, "One year": -0.6, "Two year": -2.0}[contract]
    score += 0.8 * (internet == "Fiber optic") - tenure / 30
    return {
        "customerID": f"{number:04d}-ABCDE",
        "gender": random.choice(("Female", "Male")),
        "SeniorCitizen": random.randrange(2),
        "Partner": random.choice(("Yes", "No")),
        "Dependents": random.choice(("Yes", "No")),
        "tenure": tenure,
        "PhoneService": "Yes",
        "MultipleLines": random.choice(("Yes", "No")),
        "InternetService": internet,
        **{name: "No internet service" if internet == "No" else random.choice(("Yes", "No")) for name in ADD_ONS},
        "Contract": contract,
        "PaperlessBilling": random.choice(("Yes", "No")),
        "PaymentMethod": random.choice(("Electronic check", "Mailed check")),
        "MonthlyCharges": charge,
        "TotalCharges": round(charge * tenure, 2) if tenure else " ",
        "Churn": "Yes" if random.random() < 1 / (1 + math.exp(-score)) else "No",
    }


def csv(rows: list[dict[str, Any]], fields: tuple[str, ...] = FIELDS) -> bytes:
    return "\r\n".join([",".join(fields), *(",".join(str(row[name]) for name in fields) for row in rows), ""]).encode()


def parsed(name: str, *bodies: bytes) -> Any:
    return SOURCE.parse(CHURN.dataset(name), [(LandedObject("", 0, "table.csv", TELCO, {}), body) for body in bodies])

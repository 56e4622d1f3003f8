"""Feature rows of made-up customers, a month each."""

from __future__ import annotations

import numpy as np
import pandas as pd
from unit.churn.tables import ADD_ONS, lines

_TRUTH = {"Yes": 1.0, "No": 0.0}
_NAMES = {
    "OnlineSecurity": "has_online_security",
    "OnlineBackup": "has_online_backup",
    "DeviceProtection": "has_device_protection",
    "TechSupport": "has_tech_support",
    "StreamingTV": "has_streaming_tv",
    "StreamingMovies": "has_streaming_movies",
}


def frame_of(count: int, seed: int = 3) -> pd.DataFrame:
    """The feature table's columns, without the day and what only labels know."""
    table = pd.DataFrame(lines(count, seed))
    unknown = pd.Series(np.nan, table.index)
    return pd.DataFrame(
        {
            "customer_id": table["customerID"],
            "tenure_months": table["tenure"],
            "gender": table["gender"],
            "is_senior": table["SeniorCitizen"] == 1,
            "has_partner": table["Partner"] == "Yes",
            "has_dependents": table["Dependents"] == "Yes",
            "payment_method": table["PaymentMethod"],
            "is_paperless": table["PaperlessBilling"] == "Yes",
            "contract": table["Contract"],
            "has_phone": table["PhoneService"] == "Yes",
            "has_multiple_lines": table["MultipleLines"] == "Yes",
            "internet_service": table["InternetService"],
            **{_NAMES[name]: table[name].map(_TRUTH) for name in ADD_ONS},
            "contract_age_days": unknown,
            "charge_usd": table["MonthlyCharges"].astype("float64"),
            "total_charge_usd": pd.to_numeric(table["TotalCharges"], errors="coerce"),
            "charge_change_3m_usd": 0.0,
            "data_gb": unknown,
            "data_mean_3m_gb": unknown,
            "support_calls": unknown,
            "support_calls_3m": unknown,
            "is_churn_next_month": table["Churn"] == "Yes",
        }
    )

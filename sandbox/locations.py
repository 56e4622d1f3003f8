"""What the USGS tells of a monitoring location."""

from __future__ import annotations

from typing import Any

from sandbox.sites import Site

_KM2_PER_MI2 = 2.589988
_FEET_PER_M = 3.28084
_UNKNOWN = (
    "altitude_method_code", "altitude_method_name", "aquifer_code", "aquifer_type_code", "basin_code",
    "construction_date", "contributing_drainage_area", "county_name", "depth_source_code",
    "hole_constructed_depth", "horizontal_position_method_code", "horizontal_position_method_name",
    "horizontal_positional_accuracy", "horizontal_positional_accuracy_code", "minor_civil_division_code",
    "national_aquifer_code", "revision_created", "revision_modified", "revision_note", "well_constructed_depth",
)  # fmt: skip


def location(site: Site) -> dict[str, Any]:
    """The properties of a site: area in square miles, altitude in feet, null for what a simulation has not."""
    known: dict[str, Any] = {
        "id": site.location_id,
        "agency_code": "USGS",
        "agency_name": "U.S. Geological Survey",
        "monitoring_location_number": site.number,
        "monitoring_location_name": site.name.upper(),
        "country_code": "US",
        "country_name": "United States of America",
        "state_code": site.state[0],
        "state_name": site.state[1],
        "district_code": site.state[0],
        "county_code": site.county,
        "hydrologic_unit_code": site.huc,
        "site_type": "Stream",
        "site_type_code": "ST",
        "drainage_area": round(site.basin.area_km2 / _KM2_PER_MI2, 1),
        "altitude": round(site.elevation * _FEET_PER_M, 1),
        "altitude_accuracy": 1.0,
        "vertical_datum": "NAVD88",
        "vertical_datum_name": "North American Vertical Datum of 1988",
        "original_horizontal_datum": "NAD83",
        "original_horizontal_datum_name": "North American Datum of 1983",
        "time_zone_abbreviation": site.zone,
        "uses_daylight_savings": "Y" if site.saves_daylight else "N",
    }
    return {**dict.fromkeys(_UNKNOWN), **known}

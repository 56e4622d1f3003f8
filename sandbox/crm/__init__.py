"""The CRM of a telephone company: its database, and the company whose customers are in it.

`advance(url, day)` brings the database of that URL to the evening of a day; `sandbox.databases` keeps it at today's.
"""

from sandbox.crm.database import advance

__all__ = ["advance"]

"""Headwater's pages inside the Airflow UI: what is served, drawn and decided there.

    routes/     a module a page: reads the request, asks the queries, renders a template
    queries/    a module a page: SQL on the warehouse, few statements each
    charts/     SVG, drawn by us; colours come from the style sheet, so that light and dark are one drawing

The plugin `plugins/headwater_pages.py` mounts `app.app` in Airflow's API server, behind Airflow's own login.
"""

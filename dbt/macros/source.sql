{# A table of the raw layer; with the variable `sources_aside`, its copy in the schema that has this after its name. #}
{% macro source(source_name, table_name) %}
    {%- set relation = builtins.source(source_name, table_name) -%}
    {{- return(relation.incorporate(path={"schema": relation.schema ~ var("sources_aside")})) -}}
{% endmacro %}

{# A model's table is named as its file, without the use case's slug before it: dbt wants other names of all models of
   the project, and each use case has its `features`. So models/equities/features/equities__features.sql is the table
   equities.features. #}
{% macro generate_alias_name(custom_alias_name, node) -%}
    {%- set prefix = node.fqn[1] ~ "__" -%}
    {%- set name = custom_alias_name or node.name -%}
    {{ name[prefix | length:] if name.startswith(prefix) else name }}
{%- endmacro %}

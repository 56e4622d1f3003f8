{# A model's schema follows from its folder: models/<slug>/features and models/<slug>/nowcast go to <slug>,
   models/<slug>/<layer> to <slug>_<layer>; a model's own `schema` replaces the layer. So no use case is named in dbt_project.yml. What is built
   aside has the variable `aside` after the slug. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- set slug, folder = node.fqn[1] ~ var("aside"), node.fqn[2] -%}
    {%- set layer = custom_schema_name or (none if folder in ("features", "nowcast") else folder) -%}
    {{ slug ~ "_" ~ layer | trim if layer else slug }}
{%- endmacro %}

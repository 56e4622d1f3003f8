-- The tables of rows that trainings asked for, in the schema extracts: which there are and were.

create schema if not exists extracts;
create table if not exists ops.extractions (
    table_name text primary key,
    use_case text not null,
    run_id text not null,
    statement text not null,
    rows bigint not null,
    made_at timestamptz not null default now(),
    dropped_at timestamptz
);

-- One row a try of a task of Airflow.

create table if not exists ops.task_costs (
    task_instance_id uuid primary key,
    dag_id text not null,
    run_id text not null,
    task_id text not null,
    map_index int not null,
    try_number int not null,
    state text not null,
    started_at timestamptz not null default now(),
    ended_at timestamptz,
    seconds double precision,
    cpu_seconds double precision,
    peak_memory_mb double precision,
    read_bytes bigint,
    written_bytes bigint
);
create index if not exists task_costs_started on ops.task_costs (started_at);
create index if not exists task_costs_run on ops.task_costs (dag_id, run_id);

-- What made the tables before they had versions, as it stood in the code then, and rows in each of them. It stays as it is.
create schema if not exists ops;
create table if not exists ops.ledger (
    ledger_id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    use_case text not null,
    dataset text not null,
    step text not null,
    window_start date not null,
    window_end date not null,
    attempt int not null,
    state text not null,
    received bigint, accepted bigint, quarantined bigint,
    inserted bigint, updated bigint, unchanged bigint,
    bytes bigint, seconds double precision, peak_memory_mb double precision,
    content_hash text, code_version text, detail jsonb
);
create unique index if not exists ledger_attempt
    on ops.ledger (use_case, dataset, step, window_start, window_end, attempt);
create index if not exists ledger_newest on ops.ledger (use_case, step, ledger_id);
create index if not exists ledger_at on ops.ledger (use_case, at);
create table if not exists ops.promotions (
    promotion_id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    use_case text not null,
    alias text not null,
    from_version int,
    to_version int not null,
    bento text,
    actor text not null,
    reason text not null,
    evidence jsonb not null
);
create table if not exists ops.drift_windows (
    use_case text not null,
    window_start date not null,
    window_end date not null,
    model_version int not null,
    rows bigint not null,
    reference_rows bigint not null,
    reference_windows int not null,
    verdict text not null check (verdict in ('calm', 'drift')),
    p_value double precision,
    promised_rate double precision not null,
    false_alarm_rate double precision not null,
    false_alarms_a_month double precision not null,
    share double precision not null,
    said text not null,
    report text,
    link text,
    made_at timestamptz not null default now(),
    detail jsonb not null default '{}',
    primary key (use_case, window_end, window_start, model_version)
);
create table if not exists ops.drift_columns (
    use_case text not null,
    window_start date not null,
    window_end date not null,
    model_version int not null,
    kind text not null check (kind in ('feature', 'prediction', 'quality', 'performance')),
    column_name text not null,
    distance double precision,
    threshold double precision,
    p_value double precision,
    drifted boolean not null,
    suppressed text,
    detail jsonb not null default '{}',
    primary key (use_case, window_end, window_start, model_version, kind, column_name),
    foreign key (use_case, window_end, window_start, model_version)
        references ops.drift_windows (use_case, window_end, window_start, model_version) on delete cascade
);
create table if not exists ops.incidents (
    incident_id bigint generated always as identity primary key,
    use_case text not null,
    cause text not null,
    severity text not null check (severity in ('low', 'medium', 'high')),
    state text not null default 'open'
        check (state in ('open', 'acknowledged', 'retrained', 'rolled_back', 'expired', 'ended')),
    model_version int not null,
    opened_window date not null,
    opened_at timestamptz not null default now(),
    last_window date not null,
    asked_at timestamptz,
    answered_at timestamptz,
    answer text,
    answered_by text,
    reason text,
    ended_at timestamptz,
    report text,
    link text,
    detail jsonb not null default '{}'
);
create unique index if not exists incidents_one_of_a_cause on ops.incidents (use_case, cause) where ended_at is null;
create index if not exists incidents_asked on ops.incidents (use_case, asked_at);
create table if not exists ops.quality (
    use_case text not null,
    dataset text not null,
    day date not null,
    dimension text not null,
    score double precision,
    threshold double precision,
    passed boolean,
    rows bigint not null default 0,
    failed bigint not null default 0,
    detail jsonb not null default '{}',
    at timestamptz not null default now(),
    primary key (use_case, dataset, day, dimension)
);
create table if not exists ops.alerts (
    alert_id bigint generated always as identity primary key,
    key text not null,
    title text not null,
    body text not null,
    severity text not null,
    opened_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    seen_times int not null default 1,
    ended_at timestamptz,
    told jsonb not null default '[]'
);
create unique index if not exists alerts_open on ops.alerts (key) where ended_at is null;
create table if not exists ops.source_shapes (
    use_case text not null,
    dataset text not null,
    seen_at timestamptz not null default now(),
    shape jsonb not null,
    accepted_at timestamptz,
    accepted_by text,
    primary key (use_case, dataset, seen_at)
);
create schema if not exists serving;
do $parted$
declare
    had_strays boolean := false;
    part record;
begin
    if to_regclass('serving.predictions_served') is not null then
        return;
    end if;
    if to_regclass('serving.predictions') is null then
        create table serving.predictions_batch (
    prediction_id uuid not null default gen_random_uuid(),
    request_id text,
    use_case text not null,
    channel text not null,
    entity text,
    day date,
    model_version int not null,
    arm text not null default 'champion',
    inputs json,
    outputs jsonb not null,
    actual double precision,
    predicted_at timestamptz not null default now(),
    latency_ms double precision,
    features_at timestamptz
, primary key (use_case, channel, entity, day, model_version),
                                                unique (prediction_id));
        create index predictions_day on serving.predictions_batch (use_case, day);
    else
        -- One table of all channels, as it was; its rows of other channels than batch move into their partitions
        alter table serving.predictions rename to predictions_batch;
        if not exists (select from pg_attribute
                       where attrelid = 'serving.predictions_batch'::regclass and attname = 'prediction_id') then
            alter table serving.predictions_batch
                add column prediction_id uuid not null unique default gen_random_uuid();
        end if;
        alter table serving.predictions_batch
            add column request_id text,
            add column arm text not null default 'champion',
            add column inputs json,
            add column latency_ms double precision,
            add column features_at timestamptz;
        create temporary table strays on commit drop as
            select prediction_id, use_case, channel, entity, day, model_version, outputs, actual, predicted_at from serving.predictions_batch where channel <> 'batch';
        delete from serving.predictions_batch where channel <> 'batch';
        had_strays := found;
    end if;
    create table serving.predictions (
    prediction_id uuid not null default gen_random_uuid(),
    request_id text,
    use_case text not null,
    channel text not null,
    entity text,
    day date,
    model_version int not null,
    arm text not null default 'champion',
    inputs json,
    outputs jsonb not null,
    actual double precision,
    predicted_at timestamptz not null default now(),
    latency_ms double precision,
    features_at timestamptz
) partition by list (channel);
    alter table serving.predictions attach partition serving.predictions_batch for values in ('batch');
    create table serving.predictions_served partition of serving.predictions
        for values in ('online', 'shadow', 'nowcast') partition by list (use_case);
    create index on serving.predictions_served (prediction_id);
    create index on serving.predictions_served (day, entity) where entity is not null;
    create table serving.predictions_other partition of serving.predictions default;
    create function serving.make_partition(slug text, day date) returns void language plpgsql as $make$
    declare
        branch text := 'predictions_served_' || slug;
        leaf text := branch || to_char(day, '_YYYYMMDD');
    begin
        if to_regclass(format('serving.%I', leaf)) is not null then
            return;
        end if;
        perform pg_advisory_xact_lock(hashtext('serving partitions'));
        -- Made aside and attached, which no reader or writer of the other partitions waits for
        if to_regclass(format('serving.%I', branch)) is null then
            execute format('create table serving.%I (like serving.predictions including defaults)'
                           ' partition by range (predicted_at)', branch);
            execute format('alter table serving.predictions_served attach partition serving.%I for values in (%L)',
                           branch, slug);
        end if;
        if to_regclass(format('serving.%I', leaf)) is null then
            execute format('create table serving.%I (like serving.predictions including defaults)', leaf);
            execute format('alter table serving.%I attach partition serving.%I for values from (%L) to (%L)',
                           branch, leaf, day || ' 00:00+00', (day + 1) || ' 00:00+00');
        end if;
    end $make$;
    if had_strays then
        for part in select distinct use_case, (predicted_at at time zone 'UTC')::date as day from strays
                    where channel in ('online', 'shadow', 'nowcast') loop
            perform serving.make_partition(part.use_case, part.day);
        end loop;
        insert into serving.predictions (prediction_id, use_case, channel, entity, day, model_version, outputs, actual, predicted_at) select prediction_id, use_case, channel, entity, day, model_version, outputs, actual, predicted_at from strays;
    end if;
end $parted$;
create table if not exists serving.shipped (
    segment text primary key,
    rows int not null,
    at timestamptz not null default now()
);
create table if not exists serving.api_keys (
    key_id text primary key,
    secret_sha256 text not null,
    name text not null,
    use_cases text[],
    requests_per_s double precision,
    rows_per_s double precision,
    created_at timestamptz not null default now(),
    created_by text not null,
    revoked_at timestamptz,
    revoked_by text,
    last_used_at timestamptz
);
do $experiments$
begin
    if to_regclass('serving.experiments') is not null then
        return;
    end if;
    create table serving.experiments (
        experiment_id bigint generated always as identity primary key,
        at timestamptz not null default now(),
        use_case text not null,
        mode text not null check (mode in ('shadow', 'split')),
        version int not null,
        bento text not null,
        share double precision not null check (share >= 0 and share <= 1),
        salt text not null,
        stopped boolean not null default false,
        actor text not null,
        reason text not null
    );
    create index on serving.experiments (use_case, experiment_id);
    create function serving.refuse_change() returns trigger language plpgsql as $refuse$
    begin
        raise exception 'rows are only ever added to serving.%, so its % is refused', tg_table_name, lower(tg_op);
    end $refuse$;
    create trigger append_only before update or delete or truncate on serving.experiments
        for each statement execute function serving.refuse_change();
end $experiments$;
alter table ops.promotions alter column to_version drop not null;
create table if not exists ops.evidence (
    use_case text not null,
    version int not null,
    sha256 text not null,
    at timestamptz not null default now(),
    evidence jsonb not null,
    primary key (use_case, version, sha256)
);
create or replace function ops.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'rows are only ever added to ops.%, so its % is refused', tg_table_name, lower(tg_op);
end $$;
create or replace trigger append_only before update or delete or truncate on ops.promotions
    for each statement execute function ops.refuse_change();
create or replace trigger append_only before update or delete or truncate on ops.evidence
    for each statement execute function ops.refuse_change();
create schema if not exists ops;
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

insert into ops.ledger (use_case, dataset, step, window_start, window_end, attempt, state, received, detail)
select 'flood', 'discharge', 'load', day, day, 1, 'loaded', 7, '{"a": 1}'
from generate_series(date '2026-01-01', date '2026-01-09', interval '1 day') as day;
insert into ops.promotions (use_case, alias, to_version, bento, actor, reason, evidence)
values ('flood', 'champion', 1, 'headwater-flood:v1', 'ann', 'first', '{}'), ('flood', 'champion', null, null, 'ann', 'x', '{}');
insert into ops.evidence (use_case, version, sha256, evidence) values ('flood', 1, 'abc', '{"model": "abc"}');
insert into ops.drift_windows (use_case, window_start, window_end, model_version, rows, reference_rows, reference_windows,
    verdict, promised_rate, false_alarm_rate, false_alarms_a_month, share, said)
values ('flood', '2026-01-01', '2026-01-31', 1, 10, 100, 9, 'calm', 0.01, 0.01, 0.3, 0, 'calm');
insert into ops.drift_columns (use_case, window_start, window_end, model_version, kind, column_name, drifted)
values ('flood', '2026-01-01', '2026-01-31', 1, 'feature', 'precip_mm', false);
insert into ops.incidents (use_case, cause, severity, model_version, opened_window, last_window)
values ('flood', 'feature precip_mm', 'low', 1, '2026-01-31', '2026-01-31');
insert into ops.quality (use_case, dataset, day, dimension, score) values ('flood', 'discharge', '2026-01-01', 'validity', 1);
insert into ops.alerts (key, title, body, severity) values ('run flood__ingest', 'failed', 'see its log', 'high');
insert into ops.source_shapes (use_case, dataset, shape) values ('flood', 'discharge', '{"value": "number"}');
insert into ops.task_costs (task_instance_id, dag_id, run_id, task_id, map_index, try_number, state)
values (gen_random_uuid(), 'flood__ingest', 'r', 'load', -1, 1, 'success');
insert into ops.extractions (table_name, use_case, run_id, statement, rows)
values ('extracts.flood_r', 'flood', 'r', 'create table extracts.flood_r as select 1', 1);
insert into serving.predictions (use_case, channel, entity, day, model_version, outputs)
select 'flood', 'batch', '01', day, 1, '{"discharge_m3s": 1}'
from generate_series(date '2026-01-01', date '2026-01-09', interval '1 day') as day;
select serving.make_partition('flood', date '2026-01-10');
insert into serving.predictions (use_case, channel, entity, day, model_version, outputs, predicted_at)
values ('flood', 'online', '01', '2026-01-09', 1, '{"discharge_m3s": 1}', '2026-01-10 12:00+00');
insert into serving.shipped (segment, rows) values ('writer/1', 1);
insert into serving.api_keys (key_id, secret_sha256, name, created_by) values ('0123456789ac', 'abc', 'dashboard', 'ann');
insert into serving.experiments (use_case, mode, version, bento, share, salt, actor, reason)
values ('flood', 'shadow', 2, 'headwater-flood:v2', 1, 'salt', 'ann', 'to see');

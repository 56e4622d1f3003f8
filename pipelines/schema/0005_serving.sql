-- serving.predictions                            one logical table, by channel
--   predictions_batch                            `batch`: one row a (use case, entity, day, version), replaced
--   predictions_served                           `online`, `shadow`, `nowcast`: only ever added to
--     predictions_served_<slug>                  of one use case
--       predictions_served_<slug>_<YYYYMMDD>     of one day (UTC), made when its first row comes
--   predictions_other                            any other channel
-- serving.shipped                                segments of the request log that have landed and are not yet deleted
-- serving.api_keys, serving.experiments
--
-- `day` is the day of the features; those of the nowcast are of a moment, `features_at`.

create schema if not exists serving;
do $parted$
declare
    had_strays boolean := false;
    part record;
begin
    if to_regclass('serving.predictions_served') is not null then
        return;
    end if;
    if to_regclass('serving.predictions') is not null then
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
            select * from serving.predictions_batch where channel <> 'batch';
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
    if to_regclass('serving.predictions_batch') is null then
        create table serving.predictions_batch (
            like serving.predictions including defaults,
            primary key (use_case, channel, entity, day, model_version),
            unique (prediction_id)
        );
        create index predictions_day on serving.predictions_batch (use_case, day);
    end if;
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
        insert into serving.predictions
            (prediction_id, use_case, channel, entity, day, model_version, outputs, actual, predicted_at)
            select prediction_id, use_case, channel, entity, day, model_version, outputs, actual, predicted_at
            from strays;
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

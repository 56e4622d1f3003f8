-- ops.quality          one row a (use case, data set, day, dimension): the newest score
-- ops.alerts           one row an incident, by the key of its cause; open until `ended_at`
-- ops.source_shapes    one row a shape that an upstream's answer was seen to have

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

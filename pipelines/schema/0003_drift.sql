-- ops.drift_windows    one row a (use case, window, model version); looked at again, it is replaced
-- ops.drift_columns    what was compared in a window, one row a (kind, column): features, predictions, quality,
--                      performance
-- ops.incidents        what people are asked about; of one cause of a use case, one at a time is not ended
--
-- Rates are shares from 0 to 1; a p-value is the share of reference windows that lie at least as far off.

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

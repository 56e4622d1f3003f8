-- One row for every step of a window that ran, each time it ran.

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

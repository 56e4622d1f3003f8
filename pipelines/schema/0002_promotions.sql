-- ops.promotions    every move of `champion` and `challenger`: from which version to which, who, when, why, evidence
-- ops.evidence      what a packaged version consists of, file by file, as it was when it was packaged

create table if not exists ops.promotions (
    promotion_id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    use_case text not null,
    alias text not null,
    from_version int,
    to_version int,
    bento text,
    actor text not null,
    reason text not null,
    evidence jsonb not null
);
-- In a warehouse from before there were versions, an alias that was taken away could not be recorded
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

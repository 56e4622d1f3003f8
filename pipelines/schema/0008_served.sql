-- How the service tells the ledger which version it has loaded, or could not: rows of the step `serve`, and no others.
--
-- Called with the rights of its owner, so that in containers the service, which may not touch the ledger, can tell it.

create function ops.tell_served(use_case text, state text, seconds double precision, detail jsonb)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $tell$
declare
    today date := (now() at time zone 'UTC')::date;
begin
    if state is null or state not in ('loaded', 'failed') then
        raise exception 'a version is loaded or failed, and not %', state using errcode = 'invalid_parameter_value';
    end if;
    perform pg_advisory_xact_lock(hashtext('ledger'));
    insert into ops.ledger (use_case, dataset, step, window_start, window_end, attempt, state, seconds, detail)
    select tell_served.use_case, 'model', 'serve', today, today, 1 + count(*), tell_served.state, tell_served.seconds,
           tell_served.detail
    from ops.ledger as told
    where (told.use_case, told.dataset, told.step, told.window_start, told.window_end)
        = (tell_served.use_case, 'model', 'serve', today, today);
end $tell$;
revoke execute on function ops.tell_served(text, text, double precision, jsonb) from public;

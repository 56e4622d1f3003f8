#!/bin/sh
# What the public image's entry point does of POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB and POSTGRES_INITDB_ARGS
set -eu
if [ "$1" = postgres ] && [ "$(id -u)" = 0 ]; then
	install -d -o postgres -g postgres -m 0700 "$PGDATA"
	exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
	: "${POSTGRES_PASSWORD:?Database is uninitialized and superuser password is not specified}"
	user=${POSTGRES_USER:-postgres}
	password=$(mktemp)
	printf '%s\n' "$POSTGRES_PASSWORD" > "$password"
	# shellcheck disable=SC2086 - several options
	initdb --username="$user" --pwfile="$password" --auth-local=trust --auth-host=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
	rm "$password"
	printf '\nhost all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
	if [ "${POSTGRES_DB:-$user}" != postgres ]; then
		printf 'CREATE DATABASE "%s";\n' "${POSTGRES_DB:-$user}" | postgres --single -j postgres > /dev/null
	fi
fi
exec "$@" -c listen_addresses='*'

# Stands in for `valkey/valkey:8`: Debian's package of it; the compose file says how it is started
FROM headwater-standin/trixie-valkey
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

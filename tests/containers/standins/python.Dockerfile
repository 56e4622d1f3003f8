# Stands in for `python:3.13-slim-trixie`: Debian's Python 3.13, where the public image has its own build of it
FROM headwater-standin/trixie-python
RUN rm -f /usr/lib/python3.13/EXTERNALLY-MANAGED \
    && ln -s /usr/bin/python3.13 /usr/local/bin/python && ln -s /usr/bin/python3.13 /usr/local/bin/python3
# Of the machine that builds, which may reach the package index through a proxy of its own
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    UV_SYSTEM_CERTS=1
CMD ["python"]

# Two images: `airflow` runs Airflow's processes, MLflow's server and the sandbox, `serving` answers predictions.
#
#   docker build --target serving --tag headwater-serving .
#
# What is installed is locked with hashes. Nothing that builds is in the result, which runs as an account without rights.
ARG BASE_IMAGE=python:3.13-slim-trixie

FROM ${BASE_IMAGE} AS build
# Of every file that is installed: when something was built does not change the layers
ARG SOURCE_DATE_EPOCH=1767225600
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never PYTHONDONTWRITEBYTECODE=1
COPY requirements/build.txt /build/
RUN --mount=type=cache,target=/root/.cache \
    python -m venv /build/tools && /build/tools/bin/pip install --quiet --require-hashes -r /build/build.txt
COPY docker/install.sh /build/

FROM build AS packages-serving
COPY requirements/serving.txt /build/
RUN --mount=type=cache,target=/root/.cache sh /build/install.sh packages /build/serving.txt

FROM packages-serving AS build-serving
COPY models /opt/headwater/models
COPY pipelines /opt/headwater/pipelines
COPY docker/health.py /opt/headwater/docker/
RUN sh /build/install.sh code

FROM build AS packages-airflow
COPY requirements/runtime.txt /build/
RUN --mount=type=cache,target=/root/.cache sh /build/install.sh packages /build/runtime.txt

FROM packages-airflow AS build-airflow
COPY contracts /opt/headwater/contracts
COPY dags /opt/headwater/dags
COPY dbt /opt/headwater/dbt
COPY docker/health.py /opt/headwater/docker/
COPY headwater /opt/headwater/headwater
COPY headwater_ui /opt/headwater/headwater_ui
COPY models /opt/headwater/models
COPY pipelines /opt/headwater/pipelines
COPY plugins /opt/headwater/plugins
# Each Bento takes it along
COPY requirements/serving.txt /opt/headwater/requirements/
COPY sandbox /opt/headwater/sandbox
RUN sh /build/install.sh code

FROM ${BASE_IMAGE} AS base
ARG BASE_IMAGE
ARG SOURCE_DATE_EPOCH=1767225600
# A number of its own, the same in both images: they share volumes. Each layer ends with the same time for what it changed
RUN groupadd --gid 10001 headwater \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /var/lib/headwater headwater \
    && for folder in airflow/logs bentoml/bentos lake mlflow/artifacts serving; do \
        install -d -o headwater -g headwater "/var/lib/headwater/$folder"; \
    done \
    && chown -R headwater:headwater /var/lib/headwater \
    && install -d /opt/headwater \
    && find /var/lib/headwater -depth -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} + \
    && touch --no-create --no-dereference --date="@$SOURCE_DATE_EPOCH" \
        /etc/group* /etc/gshadow* /etc/passwd* /etc/shadow* /etc/subgid* /etc/subuid* /etc/.pwd.lock \
        /etc /opt /opt/headwater /var/lib
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/headwater \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HEADWATER_HOME=/var/lib/headwater \
    HOME=/tmp
WORKDIR /opt/headwater
LABEL org.opencontainers.image.title="Headwater" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"

FROM base AS serving
# Not by COPY, which would make the two folders themselves anew, with the time of building. What is there is mounted over:
# a folder that is made for a mount stays, with its time
RUN --mount=from=packages-serving,source=/opt/venv,target=/mnt \
    cp -a /mnt /opt/venv && touch --date="@$SOURCE_DATE_EPOCH" /opt/venv /opt
RUN --mount=from=build-serving,source=/opt/headwater,target=/mnt \
    cp -a /mnt/. /opt/headwater/ && touch --date="@$SOURCE_DATE_EPOCH" /opt/headwater
ARG VERSION=dev
ARG REVISION=
LABEL org.opencontainers.image.description="Headwater's prediction service" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=6 \
    CMD ["python", "-IS", "/opt/headwater/docker/health.py", "http://127.0.0.1:3000/livez"]
CMD ["python", "-m", "models.serving"]

FROM base AS airflow
RUN --mount=from=packages-airflow,source=/opt/venv,target=/mnt \
    cp -a /mnt /opt/venv && touch --date="@$SOURCE_DATE_EPOCH" /opt/venv /opt
RUN --mount=from=build-airflow,source=/opt/headwater,target=/mnt \
    cp -a /mnt/. /opt/headwater/ && touch --date="@$SOURCE_DATE_EPOCH" /opt/headwater
ARG VERSION=dev
ARG REVISION=
LABEL org.opencontainers.image.description="Headwater's DAGs with Airflow, dbt and MLflow" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
EXPOSE 5000 8080 8094
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=6 \
    CMD ["python", "-IS", "/opt/headwater/docker/health.py", "http://127.0.0.1:8080/api/v2/monitor/health"]
ENTRYPOINT ["python", "-m", "headwater.containers", "run"]
CMD ["airflow", "api-server"]

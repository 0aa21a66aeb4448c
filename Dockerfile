# The greenbridge application, and with another command its simulators. Packages are installed from hash-pinned
# requirements; the image holds no compiler, no pip cache and no source tree.
ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/greenbridge
COPY requirements/runtime.txt requirements/runtime.txt
RUN /opt/greenbridge/bin/pip install --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY telemetry telemetry
COPY adapters adapters
COPY ingest ingest
COPY alerts alerts
COPY commissioning commissioning
COPY simulators simulators
COPY console console
COPY grafana grafana
COPY greenbridge greenbridge
RUN /opt/greenbridge/bin/pip install --no-deps --no-build-isolation . && \
    /opt/greenbridge/bin/pip uninstall --yes pip

FROM python:${PYTHON}
RUN groupadd --gid 10001 greenbridge && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/greenbridge --shell /usr/sbin/nologin greenbridge && \
    install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/greenbridge && \
    install --directory --owner 10001 --group 10001 --mode 0755 /secrets/mosquitto /secrets/influxdb /secrets/grafana \
        /secrets/greenbridge /secrets/simulators
COPY --from=build /opt/greenbridge /opt/greenbridge
ENV PATH=/opt/greenbridge/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /var/lib/greenbridge
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["greenbridge"]
CMD ["--help"]

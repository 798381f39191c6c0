# syntax=docker/dockerfile:1

# Everything that runs is in one virtual environment, made here of the requirements that are pinned by version and hash.
FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv --without-pip /opt/bitstore
COPY requirements.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/bitstore/bin/python install --only-binary=:all: --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY domain domain
COPY application application
COPY adapters adapters
COPY entrypoints entrypoints
RUN pip --python /opt/bitstore/bin/python install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin bitstore \
    && install --directory --owner=bitstore --group=bitstore /data
COPY --from=build /opt/bitstore /opt/bitstore
ENV PATH=/opt/bitstore/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LOG_FORMAT=json
USER 10001:10001
# Objects, where STORAGE_BACKEND=disk and STORAGE_DISK_ROOT=/data; nothing else is ever written but to /tmp.
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=4); c.request('GET', '/healthz'); exit(c.getresponse().status != 200)"]
ENTRYPOINT ["bitstore"]
CMD ["serve", "--host", "0.0.0.0"]

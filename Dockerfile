# Both commands of the README in a container: `docker build -t pneumo-search .` runs `make quickstart`,
# `docker run --rm pneumo-search` runs `make test`.
FROM python:3.11-slim-bookworm AS tools

# Chromium and the database servers serve tests that are skipped where these are absent.
RUN apt-get update \
    && apt-get install -y --no-install-recommends chromium git mariadb-server postgresql make \
    && rm -rf /var/lib/apt/lists/*

FROM tools AS checkout

WORKDIR /pneumo-search
COPY . .
RUN make quickstart && make install-dev && rm -rf runs
CMD ["make", "test"]

#!/bin/sh
# Runs once, after the set-up of the empty server: InfluxQL finds a bucket through a database mapping of its name.
set -eu
influx v1 dbrp create \
  --db "$DOCKER_INFLUXDB_INIT_BUCKET" \
  --rp autogen \
  --default \
  --bucket-id "$DOCKER_INFLUXDB_INIT_BUCKET_ID" \
  --org "$DOCKER_INFLUXDB_INIT_ORG"

# The controller (or one half of it) in a container; agents run on their hosts, because mounts have to reach the machine.
#
#   docker build --build-arg BASE_IMAGE=debian:bookworm-slim -t fc-redirect .
#
# Any Debian, with or without Node.js: what is missing comes from Debian and npm, and from nowhere else. npm brings the
# Node.js that the product runs on.
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}

# What the storage node formats volumes with, and what npm needs.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates e2fsprogs xfsprogs \
 && { command -v npm >/dev/null || apt-get install -y --no-install-recommends nodejs npm; } \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/fc-redirect
COPY package.json package-lock.json ./
# Every native part comes built with its package. Without this, npm would rebuild one of them: it needs Python and make
# for that, even where there is nothing to build.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund && npm cache clean --force
COPY fcr ./
COPY openapi openapi
COPY migrations migrations
COPY native-bindings native-bindings
COPY src src

ENV FCR_LISTEN=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/fc-redirect/fcr"]
CMD ["controller"]

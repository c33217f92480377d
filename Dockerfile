# Container image that replaces registry:2, with the same port, volume, configuration file and command lines.
#
#     docker build --tag registry:2 .
#     docker build --tag registry:2-nonroot --target nonroot .
#
# Arguments: RUST is the image with the compiler. BASE is the base image: any image with a shell, so that images that are
# `FROM registry:2` still build.
ARG RUST=docker.io/library/rust:1-bookworm
ARG BASE=docker.io/library/alpine:3

FROM ${RUST} AS build
WORKDIR /source
COPY . .
RUN image/build /registry

FROM ${BASE} AS files
COPY --from=build /registry /bin/registry
# Trusted authorities, for certificates from an authority such as Let's Encrypt. The base image may have none.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY image/entrypoint.sh /entrypoint.sh
COPY image/config.yml /etc/docker/registry/config.yml
# `registry --version` fails the build if the binary is not static and the base image lacks libraries. The link is for
# `docker run --entrypoint htpasswd … -Bbn USER PASSWORD`.
RUN registry --version && ln -s registry /bin/htpasswd && mkdir -p /var/lib/registry
# Only one port: nginx-proxy then uses it without a setting.
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["registry", "health"]
ENTRYPOINT ["/entrypoint.sh"]
CMD ["/etc/docker/registry/config.yml"]

# For clusters that refuse uid 0. If the image below has used a volume, its files belong to root: change the owner with
# `chown -R 65532:65532`.
FROM files AS nonroot
RUN chown 65532:65532 /var/lib/registry
VOLUME /var/lib/registry
USER 65532:65532

# Runs as root by default, like registry:2: it can read root's volumes and keys, and `adduser` works.
FROM files
VOLUME /var/lib/registry

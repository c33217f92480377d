# A container image that takes the place of registry:2: the same port, volume, configuration file and command lines.
#
#     docker build --tag registry:2 .
#     docker build --tag registry:2-nonroot --target nonroot .
#
# Arguments: RUST, where it is compiled; BASE, what it runs on: anything with a shell, so that images made
# `FROM` this one can go on as they did.
ARG RUST=docker.io/library/rust:1-bookworm
ARG BASE=docker.io/library/alpine:3

FROM ${RUST} AS build
WORKDIR /source
COPY . .
RUN image/build /registry

FROM ${BASE} AS files
COPY --from=build /registry /bin/registry
# Whom the server trusts when it gets certificates from an authority such as Let's Encrypt, whatever the base has.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY image/entrypoint.sh /entrypoint.sh
COPY image/config.yml /etc/docker/registry/config.yml
# What runs here is static: a base without the compiler's libraries starts it. And
# `docker run --entrypoint htpasswd … -Bbn USER PASSWORD` makes a line for a password file.
RUN registry --version && ln -s registry /bin/htpasswd && mkdir -p /var/lib/registry
# One port: nginx-proxy takes the only one that there is.
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["registry", "health"]
ENTRYPOINT ["/entrypoint.sh"]
CMD ["/etc/docker/registry/config.yml"]

# For clusters that refuse uid 0. Volumes that the image below has used belong to root: `chown -R 65532:65532` them.
FROM files AS nonroot
RUN chown 65532:65532 /var/lib/registry
VOLUME /var/lib/registry
USER 65532:65532

# As registry:2, root unless told otherwise: volumes and keys of root's can be read, and `adduser` works.
FROM files
VOLUME /var/lib/registry

//! Keys of the listeners.

use super::key::{Form, Key, accepted, honoured};

pub(super) const KEYS: &[Key] = &[
    honoured(
        "http.addr",
        Form::Text,
        ":5000",
        "address and port to listen on; without a host, all IPv6 and IPv4 addresses. With `http.net: unix`, the path of a \
         socket",
    ),
    honoured(
        "http.prefix",
        Form::Text,
        "",
        "path before `/v2/`, such as `/registry/`",
    ),
    honoured(
        "http.host",
        Form::Text,
        "",
        "URL of the registry for clients; makes every `Location` absolute",
    ),
    honoured(
        "http.relativeurls",
        Form::Switch,
        "true",
        "if `true`, a `Location` is a path. If `false`, it is absolute, from the request and its `Forwarded` or \
         `X-Forwarded-*` headers; this is the default in registry:2",
    ),
    honoured(
        "http.tls.certificate",
        Form::Text,
        "",
        "PEM file with the certificate and those of the intermediate authorities; the server waits for it, and reloads it \
         when it changes",
    ),
    honoured(
        "http.tls.key",
        Form::Text,
        "",
        "PEM file with the private key of the certificate",
    ),
    honoured(
        "http.tls.clientcas",
        Form::List,
        "",
        "PEM files with the authorities of client certificates; clients need a certificate from one of them. Reloaded \
         when they change",
    ),
    honoured(
        "http.tls.clientauth",
        Form::Text,
        "require-and-verify-client-cert",
        "`require-and-verify-client-cert`, or `verify-client-cert-if-given`; modes that do not verify certificates are \
         refused",
    ),
    honoured(
        "http.tls.minimumtls",
        Form::Text,
        "tls1.2",
        "`tls1.2` or `tls1.3`; older versions are not supported and mean `tls1.2`, with a warning",
    ),
    honoured(
        "http.tls.ciphersuites",
        Form::List,
        "",
        "cipher suites, by the names of registry:2; by default all secure ones. Insecure ones are ignored, with a warning",
    ),
    honoured(
        "http.tls.letsencrypt.cachefile",
        Form::Text,
        "",
        "directory (in registry:2, a file) for the account and the certificates; enables certificates from an authority",
    ),
    honoured(
        "http.tls.letsencrypt.email",
        Form::Text,
        "",
        "address for messages from the authority",
    ),
    honoured(
        "http.tls.letsencrypt.hosts",
        Form::List,
        "",
        "host names to request certificates for; at least one",
    ),
    honoured(
        "http.tls.letsencrypt.directoryurl",
        Form::Text,
        "",
        "directory URL of another authority; by default Let's Encrypt",
    ),
    honoured(
        "http.tls.letsencrypt.directoryca",
        Form::Text,
        "",
        "extension: PEM file with the authorities to trust for the HTTPS of `directoryurl`, instead of those of the \
         system",
    ),
    honoured(
        "http.tls.letsencrypt.challenge",
        Form::Text,
        "tls-alpn-01",
        "extension: `tls-alpn-01`, which uses port 443, or `http-01`, which uses the port of `http.redirect.addr`",
    ),
    honoured(
        "http.redirect.addr",
        Form::Text,
        "",
        "extension: address for plain HTTP, such as `:80`: answers the challenge `http-01`, and redirects all other \
         requests to https (308)",
    ),
    honoured(
        "http.redirect.port",
        Form::Count,
        "",
        "extension: https port in these redirects, if it is not the port of `http.addr`",
    ),
    honoured(
        "http.net",
        Form::Text,
        "tcp",
        "`tcp`, or `unix`: a socket for a proxy on the same machine, which counts as `127.0.0.1`",
    ),
    honoured(
        "http.headers.*",
        Form::List,
        "",
        "header lines of every response below `/v2/`, one per value; `Access-Control-*` are sent only to the origins that \
         they allow",
    ),
    honoured(
        "http.proxies.trusted",
        Form::List,
        "",
        "extension: networks of trusted proxies; `[]` trusts none. By default, peers with loopback and private addresses \
         are trusted, for `hops` addresses",
    ),
    honoured(
        "http.proxies.hops",
        Form::Count,
        "1",
        "extension: number of proxies, if `trusted` is not set: the client is that many addresses from the right",
    ),
    honoured(
        "http.proxies.header",
        Form::Text,
        "X-Forwarded-For",
        "extension: header in which proxies send the client's address, such as `CF-Connecting-IP`",
    ),
    honoured(
        "http.allow",
        Form::List,
        "",
        "extension: networks that may connect, such as those of a proxy; others are answered with 403",
    ),
    honoured(
        "http.maxblobsize",
        Form::Size,
        "",
        "extension: maximum size of a blob, such as `100m`; larger blobs are answered with 413. By default any size",
    ),
    honoured(
        "http.draintimeout",
        Form::Duration,
        "8s",
        "time for running requests to complete after SIGTERM, SIGINT or SIGHUP; `docker stop` kills the process after 10 s",
    ),
    honoured(
        "http.timeouts.firstbyte",
        Form::Duration,
        "30s",
        "extension: from the start of a connection to its first byte",
    ),
    honoured(
        "http.timeouts.header",
        Form::Duration,
        "30s",
        "extension: from the first byte of a request to the end of its headers",
    ),
    honoured(
        "http.timeouts.bodyidle",
        Form::Duration,
        "900s",
        "extension: time without progress within a body; a client may compress a layer while it sends it",
    ),
    honoured(
        "http.timeouts.untaken",
        Form::Duration,
        "60s",
        "extension: time until a client reads the first part of a response; after that, it may pause for `bodyidle`",
    ),
    honoured(
        "http.timeouts.queue",
        Form::Duration,
        "10s",
        "extension: how long a request waits when `limits.http2requests` is reached",
    ),
    honoured(
        "http.timeouts.keepalive",
        Form::Duration,
        "300s",
        "extension: time between two requests. Set it longer than the timeout of a proxy in front, which otherwise \
         answers some requests with 502",
    ),
    honoured(
        "http.debug.addr",
        Form::Text,
        "",
        "address for health (`/debug/health`) and metrics, without a login",
    ),
    honoured(
        "http.debug.prometheus.enabled",
        Form::Switch,
        "false",
        "serves metrics on that address; `--debug-addr` enables them",
    ),
    honoured(
        "http.debug.prometheus.path",
        Form::Text,
        "/metrics",
        "path of the metrics",
    ),
    honoured(
        "http.http2.disabled",
        Form::Switch,
        "false",
        "offers HTTP/1.1 only, for HTTPS",
    ),
    accepted(
        "http.h2c",
        Form::Any,
        "HTTP/2 without TLS works for clients that start with it",
    ),
    accepted(
        "http.secret",
        Form::Secret,
        "upload sessions need no signature: their state is in the storage, where every server of a bucket finds it, and the \
         next server of a directory",
    ),
];

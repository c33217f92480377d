//! First words of a server that somebody tries out: where it listens, and the commands that push to it.

use crate::config::{Settings, StorageKind};
use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
};

/// Writes to standard output how to push to the server.
pub(crate) fn announce(address: SocketAddr, settings: &Settings) -> io::Result<()> {
    let kept = match &settings.storage.kind {
        StorageKind::Directory { root, .. } => std::path::absolute(root)
            .unwrap_or_else(|_| root.clone())
            .display()
            .to_string(),
        StorageKind::Bucket(bucket) => bucket.to_string(),
        StorageKind::Memory => "memory, and are lost when this process ends".to_owned(),
    };
    let (scheme, skopeo, podman) = match settings.http.scheme() {
        "https" => ("https", "", ""),
        plain => (plain, " --dest-tls-verify=false", " --tls-verify=false"),
    };
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "registry {} listens on {scheme}://{address}",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(out, "images are kept in {kept}")?;
    let near = reached_from_here(address);
    if scheme == "https" {
        writeln!(
            out,
            "if the certificate is from your own authority, clients need the authority's certificate as /etc/docker/certs.d/{near}/ca.crt"
        )?;
    }
    writeln!(out, "push one:")?;
    if settings.login.is_some() {
        writeln!(
            out,
            "    docker login {near}, skopeo login{podman} {near}, or podman login{podman} {near}; then"
        )?;
    }
    writeln!(
        out,
        "    docker pull alpine && docker tag alpine {near}/alpine && docker push {near}/alpine"
    )?;
    writeln!(
        out,
        "    podman pull docker.io/library/alpine && podman push{podman} docker.io/library/alpine {near}/alpine"
    )?;
    writeln!(
        out,
        "    skopeo copy{skopeo} docker://docker.io/library/alpine docker://{near}/alpine"
    )?;
    out.flush()
}

/// Returns the address for clients on this machine: loopback if the server listens on all addresses.
fn reached_from_here(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        return SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_tries_it_out_is_told_an_address_that_can_be_reached() {
        for (listens, near) in [
            ("0.0.0.0:5000", "127.0.0.1:5000"),
            ("[::]:5000", "127.0.0.1:5000"),
            ("192.0.2.1:5000", "192.0.2.1:5000"),
        ] {
            assert_eq!(reached_from_here(listens.parse().unwrap()).to_string(), near);
        }
    }
}

//! `pebble` and its name server, which resolves every name to this machine.

use crate::host::Host;
use libtest_mimic::Failed;
use rcgen::{CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use registry_conformance::tools::{Process, free_port};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Behaviour of an authority.
pub(crate) struct Rules {
    /// Validity of its certificates.
    pub(crate) validity: Duration,
    /// Number of valid nonces it rejects, out of a hundred.
    pub(crate) rejected_nonces: u8,
    /// Port where it reads the proof of HTTP-01, if not the host's own.
    pub(crate) http_port: Option<u16>,
    /// Address where it listens, if the test needs a fixed one.
    pub(crate) address: Option<SocketAddr>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            validity: Duration::from_secs(3600),
            rejected_nonces: 0,
            http_port: None,
            address: None,
        }
    }
}

/// A running authority.
pub(crate) struct Authority {
    directory: tempfile::TempDir,
    address: SocketAddr,
    management: SocketAddr,
    pebble: Process,
    _names: Process,
}

impl Authority {
    /// Starts an authority that validates at the ports of `host`.
    pub(crate) fn start(host: &Host, rules: &Rules) -> Result<Self, Failed> {
        let directory = tempfile::tempdir()?;
        let own = |name: &str| directory.path().join(name);
        certify_itself(directory.path())?;

        let management = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let dns = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut names = Command::new("pebble-challtestsrv");
        names.args([
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-defaultIPv6",
            "",
        ]);
        names.args(["-defaultIPv4", "127.0.0.1", "-dns01", &dns.to_string()]);
        names.args(["-management", &format!("127.0.0.1:{}", free_port()?)]);
        let mut names = Process::start(&mut names)?;
        names.wait_for_connections(dns)?;

        let pebble = |address: SocketAddr| {
            let config = serde_json::json!({ "pebble": {
                "listenAddress": address.to_string(),
                "managementListenAddress": management.to_string(),
                "certificate": own("pebble.crt"),
                "privateKey": own("pebble.key"),
                "httpPort": rules.http_port.unwrap_or_else(|| host.http_port()),
                "tlsPort": host.https_port(),
                "ocspResponderURL": "",
                "externalAccountBindingRequired": false,
                "domainBlocklist": ["blocked.test"],
                "certificateValidityPeriod": rules.validity.as_secs(),
            }});
            fs::write(own("config.json"), config.to_string()).expect("the directory is the test's own");
            let mut command = Command::new("pebble");
            command.arg("-config").arg(own("config.json"));
            command.args(["-strict", "-dnsserver", &dns.to_string()]);
            command.env("PEBBLE_VA_NOSLEEP", "1");
            command.env("PEBBLE_WFE_NONCEREJECT", rules.rejected_nonces.to_string());
            command
        };
        let (mut pebble, address) = match rules.address {
            None => Process::listening(pebble)?,
            Some(address) => {
                let mut process = Process::start(&mut pebble(address))?;
                process.wait_for_connections(address)?;
                (process, address)
            }
        };
        pebble.wait_for_connections(management)?;
        Ok(Self {
            directory,
            address,
            management,
            pebble,
            _names: names,
        })
    }

    /// Stops the authority; its files stay.
    pub(crate) fn stop(&mut self) -> Result<(), Failed> {
        self.pebble.kill()?;
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/dir", self.address)
    }

    /// Returns the file with the certificates to trust for the authority's own HTTPS.
    pub(crate) fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.crt")
    }

    /// Fetches the root of the certificates that it signs, and returns the file. The authority makes a new one at each
    /// start.
    pub(crate) fn root(&self) -> Result<PathBuf, Failed> {
        let root = self.directory.path().join("root.crt");
        let fetched = Command::new("curl")
            .args(["-sS", "--fail", "--cacert"])
            .arg(self.ca())
            .arg("-o")
            .arg(&root)
            .arg(format!("https://{}/roots/0", self.management))
            .output()?;
        if !fetched.status.success() {
            return Err(String::from_utf8_lossy(&fetched.stderr).into_owned().into());
        }
        Ok(root)
    }

    /// Returns its output so far.
    pub(crate) fn output(&self) -> String {
        self.pebble.output()
    }
}

/// Makes certificates for the authority's own HTTPS.
fn certify_itself(directory: &Path) -> Result<(), Failed> {
    let mut params = CertificateParams::new(Vec::new())?;
    // Its name differs from that of the leaf, which would look self-signed otherwise.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "pebble's own");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &ca)?;
    fs::write(directory.join("ca.crt"), ca.pem())?;
    fs::write(directory.join("pebble.crt"), certificate.pem())?;
    fs::write(directory.join("pebble.key"), key.serialize_pem())?;
    Ok(())
}

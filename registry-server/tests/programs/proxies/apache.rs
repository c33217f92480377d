//! Apache: a vhost with the password, as written for registry:2, and with the help that registry:2 needs.

use std::{fs, path::Path};

use libtest_mimic::Trial;

use super::{LOGIN, Proxy, Site};
use crate::{docker::where_engines_start, http, program::argument};

const PROGRAMS: [&str; 7] = [
    "apache2", "openssl", "htpasswd", "docker", "dockerd", "podman", "skopeo",
];

/// Directory of Apache's modules in Debian.
const MODULES: &str = "/usr/lib/apache2/modules";

/// Modules that the vhosts use, in the order of their dependencies.
const LOADED: [&str; 13] = [
    "mpm_event",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_user",
    "authz_host",
    "access_compat",
    "auth_basic",
    "headers",
    "proxy",
    "proxy_http",
    "socache_shmcb",
    "ssl",
];

pub(super) fn trials() -> Vec<Trial> {
    where_engines_start(trials!(PROGRAMS;
        with_the_host_preserved_without_help,
        with_the_host_replaced_without_help,
        with_the_scheme_told,
    ))
}

/// Apache forwards the requested host, but never the scheme.
fn with_the_host_preserved_without_help() {
    let site = Site::new();
    let _apache = site.apache("ProxyPreserveHost on");

    site.door(443).serves_everybody(Some(LOGIN));

    // Old clients' pings need no password, and find nothing.
    for ping in ["/v1/_ping", "/_ping"] {
        let answer = http::request((site.host, 80).into(), "GET", ping, &[], b"");
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (404, None),
            "{ping}"
        );
    }
}

fn with_the_host_replaced_without_help() {
    let site = Site::new();
    let _apache = site.apache("");

    site.door(443).serves_everybody(Some(LOGIN));
}

fn with_the_scheme_told() {
    let site = Site::new();
    let _apache = site.apache("ProxyPreserveHost on\nRequestHeader set X-Forwarded-Proto \"https\"");

    site.door(443).serves_everybody(Some(LOGIN));
}

impl Site {
    /// Starts Apache with the vhost of the guide on 443, and the same without TLS on 80 for plain requests.
    pub(crate) fn apache(&self, options: &str) -> Proxy {
        let directory = self.bench.path("apache");
        fs::create_dir(&directory).expect("the test's directory is writable");
        let modules: String = LOADED
            .iter()
            .map(|name| (name, format!("{MODULES}/mod_{name}.so")))
            // What is compiled in has no file.
            .filter(|(_, file)| Path::new(file).exists())
            .map(|(name, file)| format!("LoadModule {name}_module {file}\n"))
            .collect();
        let vhost = format!(
            r#"
            {options}
            ProxyPass / http://{{registry}}/
            ProxyPassReverse / http://{{registry}}/
            <Location />
                Order deny,allow
                Allow from all
                AuthName "Registry Authentication"
                AuthType basic
                AuthUserFile "{{passwords}}"
                Require valid-user
            </Location>
            <Location /v1/_ping>
                Satisfy any
                Allow from all
            </Location>
            <Location /_ping>
                Satisfy any
                Allow from all
            </Location>
            "#
        );
        let text = self.configured(&format!(
            r#"
            ServerRoot {root}
            DefaultRuntimeDir {root}
            PidFile {root}/pid
            ErrorLog /dev/stderr
            ServerName {{host}}
            Listen {{host}}:80
            Listen {{host}}:443
            {modules}
            <VirtualHost {{host}}:443>
                SSLEngine On
                SSLCertificateFile {{certificate}}
                SSLCertificateKeyFile {{key}}
                {vhost}
            </VirtualHost>
            <VirtualHost {{host}}:80>
                {vhost}
            </VirtualHost>
            "#,
            root = directory.display(),
        ));
        let path = self.bench.path("apache.conf");
        fs::write(&path, text).expect("the test's directory is writable");
        let mut command = self.bench.command("apache2");
        command.args(["-DFOREGROUND", "-f", argument(&path)]);
        self.start(&mut command, 443)
    }
}

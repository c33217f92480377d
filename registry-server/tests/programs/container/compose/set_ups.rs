//! The five set-ups, before and after.

use std::fs;

use registry_conformance::tools::Process;
use serde_json::json;

use super::{HOST, Place, Tour, USER};
use crate::docker::MACHINE;

/// Content of the stand-in for the web UI.
pub(super) const UI: &str = "the web UI\n";

/// Address of the edge that represents Cloudflare's.
pub(super) const EDGE: &str = "172.31.0.2";

impl Tour<'_> {
    /// Runs the set-up where nginx asks for the password, behind an edge that ends TLS and redirects to https.
    pub(super) fn cloudflare(&self, then: impl FnOnce(&mut Place<'_>)) {
        const HOST: &str = "edge.example.com";
        let mut place = self.place("cloudflare");
        place.certify("edge", &[HOST]);
        place.runs("docker network create --subnet 172.31.0.0/24 world");
        place.serves_edge(&format!("http://{MACHINE}"));
        place.follows("cloudflare-before");
        place.logs_in(HOST, &self.authority.certificate());
        place.push(HOST);
        place.changes_hands(HOST, HOST);

        place.certify("certs/origin", &[super::HOST]);
        // This edge is in none of Cloudflare's networks.
        let file = place.path("after.yml");
        let text = fs::read_to_string(&file).unwrap();
        let believed = text.replacen("[173.245.48.0/20", "[172.16.0.0/12, 173.245.48.0/20", 1);
        assert_ne!(believed, text);
        fs::write(file, believed).unwrap();
        place.follows("cloudflare-after");
        place.runs("docker rm --force edge");
        place.serves_edge(&format!(
            "https://{MACHINE}; proxy_ssl_name {}; proxy_ssl_verify on; proxy_ssl_trusted_certificate /edge/ca.crt",
            super::HOST
        ));
        place.served(HOST);
        place.pull_all(HOST);
        place.push(HOST);
        // Who failed to log in is who the edge says.
        place.runs(&format!(
            "! curl --silent --fail --cacert ca.crt --user ann:wrong https://{HOST}/v2/"
        ));
        let log = place.runs("docker-compose -f after.yml logs registry");
        assert!(log.text().contains("198.51.100.7"), "{}", log.text());

        then(&mut place);
        place.follows("cloudflare-back");
        place.runs("docker rm --force edge");
        place.serves_edge(&format!("http://{MACHINE}"));
        place.served(HOST);
        place.pull_all(HOST);
        place.runs("docker rm --force edge");
        place.down("docker-compose.yml");
    }

    pub(super) fn nginx_ui(&self) {
        let mut place = self.place("nginx-ui");
        place.follows("nginx-ui-before");
        let certificate = fs::read_to_string(place.path("ssl/registry.example.com/domain.crt")).unwrap();
        place.logs_in(HOST, &certificate);
        place.push(HOST);
        let ui = self.served(&format!("https://{HOST}/"), &place.path("ca.crt"));
        assert_eq!(ui, UI.trim());
        place.changes_hands(HOST, HOST);

        place.follows("nginx-ui-secure");
        let plain = "localhost:5000";
        self.served(&format!("http://{plain}/v2/"), &place.path("ca.crt"));
        let (user, password) = USER.split_once(':').unwrap();
        let docker = &self.yard.docker;
        docker.run(&["login", "-u", user, "-p", password, plain]);
        place.pull_all(plain);
        place.push(plain);
        place.runs("docker-compose -f docker-compose-secure.yml down --timeout 1");

        place.follows("nginx-ui-after");
        place.served(HOST);
        place.pull_all(HOST);
        place.push(HOST);
        let ui = self.served("http://127.0.0.1:5001/", &place.path("ca.crt"));
        assert_eq!(ui, UI.trim());
        place.believes_nobody();
        place.down("after.yml");
    }

    pub(super) fn nginx_proxy(&self, then: impl FnOnce()) {
        let mut place = self.place("nginx-proxy");
        let (certificate, key) = self.authority.certify(&[HOST]);
        place.write("registry.example.com.crt", &certificate);
        place.write("registry.example.com.key", &key);
        place.write("intermediate.crt", &self.authority.certificate());
        place.follows("nginx-proxy-before");
        place.logs_in(HOST, &self.authority.certificate());
        place.push(HOST);
        place.changes_hands(HOST, HOST);
        // The engine's own choice of a port is for this machine.
        let port = place.runs("docker-compose port registry 5000");
        assert!(port.text().starts_with("127.0.0.1:"), "{}", port.text());
        assert_eq!(self.yard.answer(&format!("http://{}/v2/", port.text())), "{}");

        // A line of the kind that the guide of 2015 makes.
        place.runs("htpasswd -bdn bob other >> nginx/passwords/registry.example.com");
        place.follows("nginx-proxy-after");
        place.served(HOST);
        place.pull_all(HOST);
        place.push(HOST);
        place.runs(&format!("docker login -u bob -p other {HOST}"));
        place.runs(&format!("docker login -u ann -p secret {HOST}"));

        then();
        place.believes_nobody();
        place.down("after.yml");
    }

    pub(super) fn apache(&self) {
        let mut place = self.place("apache");
        let (certificate, key) = self.authority.certify(&[HOST]);
        self.certbot(&certificate, &key);
        place.follows("apache-before");
        place.logs_in(HOST, &self.authority.certificate());
        place.push(HOST);

        // The engine starts what dies, and it serves what was acknowledged.
        let registry = place.container("registry");
        let started = self.yard.inspect(&registry, "{{.State.StartedAt}}");
        self.yard.kill(&registry);
        self.yard
            .wait_for_another(&registry, "{{.State.StartedAt}}", &started);
        place.served(HOST);
        place.pull_all(HOST);

        // With registry:2, a push through this vhost loses its way, and the doctor knows why.
        let doctor = self.guide.block("doctor").replace("registry:2", "registry:new");
        self.registry_is("old");
        place.follows("compose-swap");
        place.served(HOST);
        let (repository, image) = &place.kept[0];
        let reference = format!("{HOST}/other/{repository}");
        self.yard.docker.load(&image.to_load(&reference));
        self.yard.docker.refused(&["push", &reference]);
        let found = place.attempts(&doctor).map(|printed| printed.log).unwrap_err();
        assert!(found.contains("Location of an upload"), "{found}");
        self.registry_is("new");
        place.follows("compose-swap");
        place.served(HOST);
        place.runs(&doctor);
        self.yard.docker.run(&["push", &reference]);
        self.yard.docker.run(&["image", "rm", &reference]);
        place.changes_hands(HOST, "localhost:5000");

        place.follows("apache-after");
        place.served(HOST);
        place.runs(&doctor);
        place.pull_all(HOST);
        place.push(HOST);
        place.believes_nobody();
        place.down("after.yml");
    }

    /// Writes files as certbot keeps them: links in `live` to files in `archive`.
    fn certbot(&self, certificate: &str, key: &str) {
        let of = |directory: &str| self.yard.docker.etc("letsencrypt").join(directory).join(HOST);
        for directory in [of("archive"), of("live")] {
            fs::create_dir_all(directory).unwrap();
        }
        let chain = self.authority.certificate();
        for (name, text) in [
            ("cert", certificate),
            ("chain", &chain),
            ("fullchain", &format!("{certificate}{chain}")),
            ("privkey", key),
        ] {
            fs::write(of("archive").join(format!("{name}1.pem")), text).unwrap();
            let link = of("live").join(format!("{name}.pem"));
            std::os::unix::fs::symlink(format!("../../archive/{HOST}/{name}1.pem"), link).unwrap();
        }
    }

    pub(super) fn lets_encrypt(&self) {
        let mut place = self.place("letsencrypt");
        place.follows("letsencrypt-before");

        // Without a certificate yet it waits, and is not started again and again.
        let registry = place.container("registry");
        let waits = || {
            let log = self.yard.docker.run(&["logs", &registry]);
            log.log.contains("waits for") && log.log.contains("/certs/registry.example.com.crt")
        };
        assert!((0..2000).any(|_| waits()), "the registry says what it waits for");
        assert_eq!(self.yard.inspect(&registry, "{{.RestartCount}}"), "0");
        self.companion(&place, &[HOST]);
        place.logs_in(HOST, &self.authority.certificate());
        place.push(HOST);

        // A renewed certificate is the registry's own, too.
        self.companion(&place, &[HOST, "renewed.example.com"]);
        let address = self.yard.inspect(
            &registry,
            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        );
        place.runs(&format!(
            "curl --silent --show-error --fail --user {USER} --cacert ca.crt --retry 60 --retry-delay 1 --retry-all-errors \
             --resolve renewed.example.com:5000:{address} https://renewed.example.com:5000/v2/"
        ));
        place.changes_hands(HOST, HOST);

        let _authority = self.lets_encrypt_itself(&place);
        place.follows("letsencrypt-after");
        // Whoever signs for Let's Encrypt here has a new root at each start.
        let root = place.runs(&format!(
            "curl --silent --show-error --fail --insecure https://{MACHINE}:15000/roots/0"
        ));
        place.logs_in(HOST, &format!("{}\n", root.text()));
        place.pull_all(HOST);
        place.push(HOST);
        let redirected = place.runs(&format!("curl --silent --include http://{HOST}/v2/"));
        assert!(redirected.text().contains("308"), "{}", redirected.text());
        assert!(redirected.text().contains(&format!("https://{HOST}/v2/")));
        place.believes_nobody();
        place.down("after.yml");
    }

    /// Writes the files that the companion writes after it got a certificate.
    fn companion(&self, place: &Place<'_>, hosts: &[&str]) {
        let (certificate, key) = self.authority.certify(hosts);
        place.write(&format!("domains/certs/{HOST}/fullchain.pem"), &certificate);
        place.write(&format!("domains/certs/{HOST}/key.pem"), &key);
        for (link, file) in [("crt", "fullchain.pem"), ("key", "key.pem")] {
            place.runs(&format!("ln -sf ./{HOST}/{file} domains/certs/{HOST}.{link}"));
        }
    }

    /// Starts an authority in place of Let's Encrypt, and lets the set-up use it.
    fn lets_encrypt_itself(&self, place: &Place<'_>) -> Process {
        place.certify("pebble", &[MACHINE]);
        let configuration = json!({ "pebble": {
            "listenAddress": format!("{MACHINE}:14000"),
            "managementListenAddress": format!("{MACHINE}:15000"),
            "certificate": place.path("pebble.pem"),
            "privateKey": place.path("pebble.key"),
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }});
        place.write("pebble.json", &configuration.to_string());
        let mut command = self.yard.docker.inside("pebble");
        command
            .arg("-strict")
            .arg("-config")
            .arg(place.path("pebble.json"));
        command.env("PEBBLE_VA_NOSLEEP", "1");
        let pebble = Process::start(&mut command).unwrap();
        place.runs(&format!(
            "curl --silent --insecure --retry 60 --retry-delay 1 --retry-all-errors https://{MACHINE}:14000/dir"
        ));

        place.write("domains/acme/ca.crt", &self.authority.certificate());
        let file = place.path("after.yml");
        let text = fs::read_to_string(&file).unwrap();
        let ours = format!(
            "      REGISTRY_HTTP_TLS_LETSENCRYPT_DIRECTORYURL: https://{MACHINE}:14000/dir\n      \
             REGISTRY_HTTP_TLS_LETSENCRYPT_DIRECTORYCA: /acme/ca.crt\n    volumes:\n"
        );
        fs::write(file, text.replacen("    volumes:\n", &ours, 1)).unwrap();
        pebble
    }
}

impl Place<'_> {
    /// Checks that forwarded client addresses are not believed, since nothing is in front of the registry.
    fn believes_nobody(&self) {
        self.runs(&format!(
            "! curl --silent --fail --cacert ca.crt --user mallory:wrong --header 'X-Forwarded-For: 198.51.100.9' \
             https://{HOST}/v2/"
        ));
        let log = self.runs("docker-compose -f after.yml logs registry");
        assert!(log.text().contains("mallory"), "{}", log.text());
        assert!(!log.text().contains("198.51.100.9"), "{}", log.text());
    }

    /// Serves an edge as Cloudflare's, with TLS and "Always Use HTTPS", in front of this origin.
    fn serves_edge(&self, origin: &str) {
        let text = format!(
            r#"
            user root;
            error_log stderr;
            events {{ worker_connections 256; }}
            http {{
                access_log off;
                server {{ listen 80; return 301 https://$host$request_uri; }}
                server {{
                    listen 443 ssl;
                    ssl_certificate /edge/edge.pem;
                    ssl_certificate_key /edge/edge.key;
                    client_max_body_size 100m;
                    location / {{
                        proxy_pass {origin};
                        proxy_set_header Host $host;
                        proxy_set_header CF-Connecting-IP 198.51.100.7;
                        proxy_set_header X-Forwarded-Proto $scheme;
                    }}
                }}
            }}
            "#,
        );
        self.write("edge.conf", &text);
        self.runs(&format!(
            "docker run -d --name edge --network world --ip {EDGE} -v \"$PWD:/edge:ro\" \
             -v \"$PWD/edge.conf:/etc/nginx/nginx.conf:ro\" nginx:alpine"
        ));
    }
}

//! The guide of deployments, `docs/deploying.md`, command by command. docker-compose runs the five set-ups in
//! `registry-server/compose` behind real nginx and Apache, then the part about clients, and the chores.
//!
//! In each set-up the image is swapped, as its users would do it, from this registry to the real registry:2 and back.
//! The content of both is kept. Then settings that became unnecessary are left out.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};

use libtest_mimic::Trial;

use super::Yard;
use crate::{
    docker::MACHINE,
    image::DockerArchive,
    program::{Printed, Workbench, argument, output_of},
};

mod authority;
mod chores;
mod clients;
mod guide;
mod parts;
mod set_ups;

use authority::Authority;
use guide::Guide;

const PROGRAMS: [&str; 16] = [
    "apache2",
    "busybox",
    "ctr",
    "curl",
    "docker",
    "docker-compose",
    "docker-registry",
    "dockerd",
    "htpasswd",
    "ip",
    "ldd",
    "nginx",
    "nsenter",
    "openssl",
    "pebble",
    "skopeo",
];

/// Host of the guide's images, and its user.
const HOST: &str = "registry.example.com";
const USER: &str = "ann:secret";

pub(super) fn trials() -> Vec<Trial> {
    trials!(PROGRAMS; the_guide_of_deployments_does_what_it_says)
}

/// One engine runs them all: starting it and building the images is most of the work.
fn the_guide_of_deployments_does_what_it_says() {
    let bench = Workbench::new();
    let yard = Yard::new(&bench);
    let tour = Tour::new(&yard);

    tour.nginx_proxy(|| tour.clients());
    tour.cloudflare(|place| tour.chores(place));
    tour.apache();
    tour.nginx_ui();
    tour.lets_encrypt();
    tour.swaps_by_hand();
    tour.closes_the_way_around();

    tour.guide.assert_all_was_run();
}

/// A machine with an engine, all the images that the set-ups name, and the guide.
struct Tour<'a> {
    yard: &'a Yard<'a>,
    guide: Guide,
    authority: Authority,
    /// Number of images that were pushed.
    pushed: Cell<u64>,
}

impl<'a> Tour<'a> {
    fn new(yard: &'a Yard<'a>) -> Self {
        let names = format!(
            "127.0.0.1 localhost\n{MACHINE} {HOST} renewed.example.com\n{edge} edge.example.com\n",
            edge = set_ups::EDGE
        );
        fs::write(yard.docker.etc("hosts"), names).unwrap();
        yard.docker.run(&["tag", "registry:2", "registry:new"]);
        yard.make_old_registry();
        parts::make(yard);
        Self {
            yard,
            guide: Guide::read(),
            authority: Authority::new(),
            pushed: Cell::new(0),
        }
    }

    /// Copies a set-up's directory.
    fn place(&self, name: &str) -> Place<'_> {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose").join(name);
        // Compose names what it makes for the directory.
        let place = self.empty_place(name);
        let mut copy = self.yard.bench.command("cp");
        copy.arg("-a").arg(from.join(".")).arg(&place.directory);
        output_of(copy).unwrap();
        place
    }

    fn empty_place(&self, name: &str) -> Place<'_> {
        let directory = self.yard.bench.path("places").join(name);
        fs::create_dir_all(&directory).unwrap();
        Place {
            tour: self,
            directory,
            kept: Vec::new(),
        }
    }

    /// Makes `registry:2` an alias: `new` is this registry, `old` the real one.
    fn registry_is(&self, which: &str) {
        self.yard
            .docker
            .run(&["tag", &format!("registry:{which}"), "registry:2"]);
    }

    /// Waits until the user is served at this URL, and returns the body. `authority` has the certificate's signer.
    fn served(&self, url: &str, authority: &Path) -> String {
        let mut command = self.yard.docker.inside("curl");
        // The pauses are curl's own; what is starting refuses connections, or is a proxy's 502, for a moment.
        command.args(["--silent", "--show-error", "--fail", "--user", USER]);
        command.args(["--retry", "60", "--retry-delay", "1", "--retry-all-errors"]);
        command.arg("--cacert").arg(authority).arg(url);
        let printed = output_of(command).unwrap_or_else(|failed| panic!("{url}: {failed}"));
        printed.text().to_owned()
    }
}

/// A directory in which the guide's commands run, and the images that were pushed to the registry there.
struct Place<'a> {
    tour: &'a Tour<'a>,
    directory: PathBuf,
    kept: Vec<(String, DockerArchive)>,
}

impl Place<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs commands of the guide here.
    fn follows(&self, block: &str) -> Printed {
        self.runs(&self.tour.guide.block(block))
    }

    fn runs(&self, script: &str) -> Printed {
        self.attempts(script)
            .unwrap_or_else(|failed| panic!("{script}\n{failed}"))
    }

    /// Runs [`Self::runs`] for a script that may fail; the error is its output.
    fn attempts(&self, script: &str) -> Result<Printed, String> {
        let mut command = self.tour.yard.docker.inside("sh");
        command.args(["-euc", &format!("cd '{}'\n{script}", self.directory.display())]);
        // Compose has its own libraries, and others of these names break it.
        command.env_remove("PYTHONPATH");
        // How long it waits for the engine, which may be busy.
        command.env("COMPOSE_HTTP_TIMEOUT", "600");
        output_of(command)
    }

    /// Makes a certificate for these names by the tour's authority, as `NAME.pem` and `NAME.key`.
    fn certify(&self, name: &str, hosts: &[&str]) {
        let (certificate, key) = self.tour.authority.certify(hosts);
        self.write(&format!("{name}.pem"), &certificate);
        self.write(&format!("{name}.key"), &key);
    }

    /// Trusts the signer of the host's certificate, and logs in.
    fn logs_in(&self, host: &str, authority: &str) {
        self.write("ca.crt", authority);
        self.served(host);
        let commands = self.tour.guide.block("client-docker").replace(HOST, host);
        self.runs(&commands);
    }

    /// Waits until the user is served at this host.
    fn served(&self, host: &str) {
        let body = self
            .tour
            .served(&format!("https://{host}/v2/"), &self.path("ca.crt"));
        assert_eq!(body, "{}");
    }

    /// Pushes another image to this host.
    fn push(&mut self, host: &str) {
        let seed = self.tour.pushed.get() + 1;
        self.tour.pushed.set(seed);
        let repository = format!("team/app{seed}:latest");
        let image = self.tour.yard.push(seed, &format!("{host}/{repository}"));
        self.kept.push((repository, image));
    }

    /// Pulls everything that was pushed.
    fn pull_all(&self, host: &str) {
        for (repository, image) in &self.kept {
            self.tour
                .yard
                .assert_pulls(&format!("{host}/{repository}"), image);
        }
    }

    /// Swaps this registry in the running set-up for the real registry:2, pushes an image to it, and swaps back. The
    /// push to registry:2 goes through a host that works with it.
    fn changes_hands(&mut self, host: &str, that_works: &str) {
        self.tour.registry_is("old");
        self.follows("compose-swap");
        self.served(host);
        self.pull_all(host);
        self.push(that_works);

        self.tour.registry_is("new");
        self.follows("compose-swap");
        self.served(host);
        self.pull_all(host);
    }

    fn container(&self, service: &str) -> String {
        let listed = self.runs(&format!("docker-compose ps -aq {service}"));
        listed.text().to_owned()
    }

    /// Takes down what `docker-compose` brought up by this file, and the volumes.
    fn down(&self, file: &str) {
        self.runs(&format!("docker-compose -f {file} down --volumes --timeout 1"));
    }
}

impl Drop for Place<'_> {
    #[expect(clippy::print_stderr, reason = "a test is failing, and this is why")]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut command = self.tour.yard.docker.inside("sh");
        let logs = "docker ps --all; for each in $(docker ps -aq); do docker logs --tail 10 $each; done 2>&1";
        command.args(["-c", logs]);
        match output_of(command) {
            Ok(printed) => eprintln!("in {}:\n{}", argument(&self.directory), printed.text()),
            Err(failed) => eprintln!("{failed}"),
        }
    }
}

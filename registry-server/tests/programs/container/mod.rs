//! The container image, built from the repository's `Dockerfile` and run by a docker engine with the commands that
//! public guides give for `registry:2`.
//!
//! Base images are not available everywhere. Busybox, with the libraries of the programs that run on it, replaces
//! Alpine, and a `cargo` that returns the binary under test replaces the compiler. `registry:2` itself is Debian's
//! docker-registry on the same base.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use libtest_mimic::Trial;

use crate::{
    docker::{Engine, where_engines_start},
    image::{DockerArchive, Layer},
    program::{Workbench, argument, output_of},
};

mod collection;
mod compose;
mod running;

const PROGRAMS: [&str; 8] = [
    "busybox",
    "curl",
    "docker",
    "docker-registry",
    "dockerd",
    "ip",
    "ldd",
    "nsenter",
];

pub(crate) fn trials() -> Vec<Trial> {
    where_engines_start(
        [running::trials(), collection::trials(), compose::trials()]
            .into_iter()
            .flatten()
            .collect(),
    )
}

/// An engine with networks, and the images to run on it.
struct Yard<'a> {
    bench: &'a Workbench,
    docker: Engine<'a>,
}

impl<'a> Yard<'a> {
    /// Starts an engine and builds `registry:2` on it.
    fn new(bench: &'a Workbench) -> Self {
        let yard = Self {
            bench,
            docker: Engine::start_with_networks(bench, "engine"),
        };
        yard.make_base();
        yard.make_compiler();
        yard.build("", "registry:2");
        yard
    }

    /// Makes the replacement for Alpine: busybox, `adduser`, the root user, and the libraries of the servers.
    fn make_base(&self) {
        let context = Context::new(self.bench, "base");
        context.copy(&program("busybox"), "/bin/busybox");
        for program in [
            Path::new(env!("CARGO_BIN_EXE_registry")),
            &program("docker-registry"),
        ] {
            context.copy_libraries(program);
        }
        context.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        context.write("/etc/group", "root:x:0:\n");
        context.write_script("/usr/sbin/adduser", ADDUSER);
        context.build(
            &self.docker,
            "alpine",
            "FROM scratch\nCOPY . /\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nRUN mkdir -m 1777 /tmp\n",
        );
    }

    /// Makes the replacement for the compiler: it checks that it got the sources, and returns the binary under test.
    fn make_compiler(&self) {
        let context = Context::new(self.bench, "compiler");
        // Each step of a build is a copy of everything where layers are directories.
        let mut strip = self.bench.command("strip");
        strip.arg("-o").arg(context.place("/registry"));
        strip.arg(env!("CARGO_BIN_EXE_registry"));
        output_of(strip).expect("what was linked can be stripped");
        context.write_script("/bin/rustc", "#!/bin/sh\necho 'host: here'\n");
        context.write_script("/bin/cargo", CARGO);
        context.write("/etc/ssl/certs/ca-certificates.crt", AUTHORITIES);
        context.build(&self.docker, "rust", "FROM alpine\nCOPY . /\n");
    }

    /// Builds a stage of the repository's own `Dockerfile`, by default the last.
    fn build(&self, stage: &str, tag: &str) {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut arguments = vec![
            "build",
            "--tag",
            tag,
            "--build-arg",
            "RUST=rust",
            "--build-arg",
            "BASE=alpine",
        ];
        if !stage.is_empty() {
            arguments.extend(["--target", stage]);
        }
        arguments.push(argument(&repository));
        self.docker.run_with(&LEGACY_BUILDER, &arguments);
    }

    /// Makes an image of the real registry:2, as `registry:old`.
    fn make_old_registry(&self) {
        let context = Context::new(self.bench, "old");
        context.copy(&program("docker-registry"), "/bin/registry");
        context.write("/etc/docker/registry/config.yml", OLD_CONFIGURATION);
        context.build(
            &self.docker,
            "registry:old",
            "FROM alpine\nCOPY . /\nVOLUME /var/lib/registry\nEXPOSE 5000\nENTRYPOINT [\"registry\", \"serve\"]\n\
             CMD [\"/etc/docker/registry/config.yml\"]\n",
        );
    }

    /// Pushes a new image under this reference, which the engine then removes.
    fn push(&self, seed: u64, reference: &str) -> DockerArchive {
        let image = DockerArchive::new(&[&Layer::new(seed, 100_000), &Layer::new(seed + 100, 2_000)]);
        self.docker.load(&image.to_load(reference));
        self.docker.run(&["push", reference]);
        self.docker.run(&["image", "rm", reference]);
        image
    }

    /// Pulls an image and compares it with what was pushed.
    fn assert_pulls(&self, reference: &str, expected: &DockerArchive) {
        self.docker.run(&["pull", "--quiet", reference]);
        self.docker.assert_has(reference, expected);
        self.docker.run(&["image", "rm", reference]);
    }

    /// Waits for an answer at this URL, as seen from the engine's host, and returns the body.
    fn answer(&self, url: &str) -> String {
        let mut command = self.docker.inside("curl");
        // The retries are curl's own; a container that is starting refuses connections for a moment.
        command.args([
            "--silent",
            "--show-error",
            "--retry",
            "30",
            "--retry-delay",
            "1",
            "--retry-all-errors",
        ]);
        command.args(["--max-time", "60", url]);
        let printed = output_of(command).unwrap_or_else(|failed| panic!("{url}: {failed}"));
        printed.text().to_owned()
    }

    /// Returns a property of a container or image.
    fn inspect(&self, what: &str, format: &str) -> String {
        self.docker
            .run(&["inspect", "--format", format, what])
            .text()
            .to_owned()
    }
}

/// The classic builder of docker, for engines without the plugin of BuildKit.
const LEGACY_BUILDER: [(&str, &str); 1] = [("DOCKER_BUILDKIT", "0")];

/// Busybox's `adduser`, as far as `-u UID --disabled-password NAME`: Debian builds busybox without it.
const ADDUSER: &str = r#"#!/bin/sh
while [ $# -gt 1 ]; do
    case "$1" in
        -u) uid="$2"; shift 2 ;;
        --disabled-password | -D) shift ;;
        *) echo "adduser: $1 is not understood" >&2; exit 1 ;;
    esac
done
echo "$1:x:$uid:$uid::/home/$1:/bin/sh" >>/etc/passwd
echo "$1:x:$uid:" >>/etc/group
"#;

/// Contents of the authorities' file that the compiler's image trusts.
const AUTHORITIES: &str = "-----BEGIN CERTIFICATE-----\n";

const CARGO: &str = r#"#!/bin/sh
set -e
test "$*" = "build --locked --release --package registry-server --target here"
test "$RUSTFLAGS" = "-C target-feature=+crt-static"
grep -q '^members' Cargo.toml
test -f Cargo.lock -a -f registry-server/Cargo.toml -a -d registry-core
mkdir -p target/here/release
cp /registry target/here/release/registry
"#;

/// Configuration of the image of registry:2, as far as 2.8.2 reads it.
const OLD_CONFIGURATION: &str = "version: 0.1
log: { fields: { service: registry } }
storage:
  cache: { blobdescriptor: inmemory }
  filesystem: { rootdirectory: /var/lib/registry }
http:
  addr: :5000
  headers: { X-Content-Type-Options: [nosniff] }
";

/// Build context of an image.
struct Context<'a> {
    bench: &'a Workbench,
    path: PathBuf,
}

impl<'a> Context<'a> {
    fn new(bench: &'a Workbench, name: &str) -> Self {
        let path = bench.path(name);
        fs::create_dir(&path).expect("the test's directory is writable");
        Self { bench, path }
    }

    /// Returns the place of an absolute path of the image, and makes its directory.
    fn place(&self, path: &str) -> PathBuf {
        let place = self.path.join(path.trim_start_matches('/'));
        let directory = place.parent().expect("a file is in a directory");
        fs::create_dir_all(directory).expect("the test's directory is writable");
        place
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.place(path), text).expect("the test's directory is writable");
    }

    fn write_script(&self, path: &str, text: &str) {
        self.write(path, text);
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.place(path), executable).expect("the file is the test's own");
    }

    fn copy(&self, file: &Path, path: &str) {
        fs::copy(file, self.place(path)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// Copies the libraries of a program to the paths where it expects them.
    fn copy_libraries(&self, program: &Path) {
        let mut command = self.bench.command("ldd");
        command.arg(program);
        // A static program has none, and `ldd` says so by failing.
        let Ok(printed) = output_of(command) else { return };
        for library in printed
            .text()
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
        {
            if !self.path.join(library.trim_start_matches('/')).exists() {
                self.copy(Path::new(library), library);
            }
        }
    }

    fn build(&self, docker: &Engine<'_>, tag: &str, dockerfile: &str) {
        self.write("/Dockerfile", dockerfile);
        self.write("/.dockerignore", "Dockerfile\n.dockerignore\n");
        docker.run_with(&LEGACY_BUILDER, &["build", "--tag", tag, argument(&self.path)]);
    }
}

/// Returns the path of a program that the test needs and its list of programs names.
fn program(name: &str) -> PathBuf {
    registry_conformance::tools::find(name).expect("the test runs only where its programs are")
}

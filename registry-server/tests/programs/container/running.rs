//! The image in use: the commands of the guides, the engine that restarts it, users other than root.

use std::{
    fs,
    io::{BufRead, BufReader, Read as _, Write as _},
    process::{Child, Stdio},
    thread,
};

use libtest_mimic::Trial;

use super::{AUTHORITIES, Context, PROGRAMS, Yard};
use crate::program::{Workbench, argument, output_of};

pub(super) fn trials() -> Vec<Trial> {
    trials!(PROGRAMS;
        runs_by_the_command_that_everybody_knows,
        runs_on_a_port_of_the_engines_choice_with_another_root,
        makes_lines_for_a_password_file,
        runs_as_a_user_that_a_derived_image_adds,
        runs_as_nobody_in_its_other_variant,
        ends_by_itself_when_it_is_stopped_during_a_push,
    )
}

fn runs_by_the_command_that_everybody_knows() {
    let bench = Workbench::new();
    let yard = Yard::new(&bench);

    yard.docker.run(&[
        "run",
        "-d",
        "-p",
        "5000:5000",
        "--restart=always",
        "--name",
        "registry",
        "registry:2",
    ]);

    assert_eq!(yard.answer("http://localhost:5000/v2/"), "{}");
    // What the engine asks every half a minute.
    yard.docker.run(&["exec", "registry", "registry", "health"]);
    let image = yard.push(1, "localhost:5000/hello-world:latest");

    // The engine starts what dies, and it serves what it had.
    let started = yard.inspect("registry", "{{.State.StartedAt}}");
    yard.kill("registry");
    yard.wait_for_another("registry", "{{.State.StartedAt}}", &started);
    assert_eq!(yard.answer("http://localhost:5000/v2/"), "{}");
    yard.assert_pulls("localhost:5000/hello-world:latest", &image);

    // `docker stop` asks, and waits ten seconds before it kills: 137 would be a kill.
    yard.docker.run(&["stop", "registry"]);
    assert_eq!(yard.inspect("registry", "{{.State.ExitCode}}"), "0");
    // An authority that issues certificates is asked over HTTPS.
    yard.docker.run(&["start", "registry"]);
    let trusted = ["exec", "registry", "cat", "/etc/ssl/certs/ca-certificates.crt"];
    assert_eq!(yard.docker.run(&trusted).text(), AUTHORITIES.trim());
    // nginx-proxy finds the port only if there is one.
    assert_eq!(
        yard.inspect("registry:2", "{{json .Config.ExposedPorts}}"),
        r#"{"5000/tcp":{}}"#
    );
    assert_eq!(
        yard.inspect("registry:2", "{{json .Config.Volumes}}"),
        r#"{"/var/lib/registry":{}}"#
    );
}

fn runs_on_a_port_of_the_engines_choice_with_another_root() {
    let bench = Workbench::new();
    let yard = Yard::new(&bench);
    let storage = bench.path("storage");
    fs::create_dir(&storage).unwrap();

    yard.docker.run(&[
        "run",
        "-d",
        "-p",
        "127.0.0.1::5000",
        "-v",
        &format!("{}:/registry", argument(&storage)),
        "-e",
        "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/registry",
        "-e",
        "VIRTUAL_HOST=registry.example.com",
        "--name",
        "registry",
        "registry:2",
    ]);
    let published = yard.docker.run(&["port", "registry", "5000"]);
    let address = published.text();

    assert_eq!(yard.answer(&format!("http://{address}/v2/")), "{}");
    let reference = format!("{address}/user/hello-world:latest");
    let image = yard.push(1, &reference);
    yard.assert_pulls(&reference, &image);
    assert!(
        storage
            .join("docker/registry/v2/repositories/user/hello-world")
            .is_dir()
    );
}

fn makes_lines_for_a_password_file() {
    let bench = Workbench::new();
    let yard = Yard::new(&bench);

    let line = yard.docker.run(&[
        "run",
        "--rm",
        "--entrypoint",
        "htpasswd",
        "registry:2",
        "-Bbn",
        "username",
        "password",
    ]);

    // The guides redirect this to the file: nothing but the line, and an empty one as htpasswd prints it.
    assert!(line.text().starts_with("username:$2y$"), "{}", line.text());
    assert_eq!(line.text().lines().count(), 1, "{}", line.text());
    fs::write(bench.path("htpasswd"), &line.out).unwrap();
    yard.docker.run(&[
        "run",
        "-d",
        "-p",
        "5000:5000",
        "-v",
        &format!("{}:/auth/htpasswd:ro", argument(&bench.path("htpasswd"))),
        "-e",
        "REGISTRY_AUTH=htpasswd",
        "-e",
        "REGISTRY_AUTH_HTPASSWD_REALM=Registry Realm",
        "-e",
        "REGISTRY_AUTH_HTPASSWD_PATH=/auth/htpasswd",
        "registry:2",
    ]);
    yard.answer("http://localhost:5000/");
    let login = |password| ["login", "-u", "username", "-p", password, "localhost:5000"];
    yard.docker.refused(&login("wrong"));
    yard.docker.run(&login("password"));
    let image = yard.push(1, "localhost:5000/app:latest");
    yard.assert_pulls("localhost:5000/app:latest", &image);
}

fn runs_as_a_user_that_a_derived_image_adds() {
    let bench = Workbench::new();
    let yard = Yard::new(&bench);
    let derived = Context::new(&bench, "derived");
    derived.build(
        &yard.docker,
        "my-registry:2",
        "FROM registry:2\n\nRUN adduser -u 1000 --disabled-password regDockerUser\nUSER regDockerUser\n",
    );
    let data = bench.path("volume");
    fs::create_dir(&data).unwrap();
    let volume = format!("{}:/data", argument(&data));
    let run = [
        "run",
        "-d",
        "-p",
        "5000:5000",
        "-e",
        "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/data",
        "-v",
        &volume,
        "--name",
        "registry",
        "my-registry:2",
    ];

    // The directory is root's, as the engine makes it: said at once, with the path and who may not write there.
    yard.docker.run(&run);
    assert_ne!(yard.docker.run(&["wait", "registry"]).text(), "0");
    let said = yard.docker.run(&["logs", "registry"]);
    let said = format!("{}{}", said.text(), said.log);
    assert!(said.contains("/data") && said.contains("1000"), "{said}");
    yard.docker.run(&["rm", "registry"]);

    std::os::unix::fs::chown(&data, Some(1000), Some(1000)).unwrap();
    yard.docker.run(&run);
    yard.answer("http://localhost:5000/v2/");
    let image = yard.push(1, "localhost:5000/app:latest");
    yard.assert_pulls("localhost:5000/app:latest", &image);
}

fn runs_as_nobody_in_its_other_variant() {
    let bench = Workbench::new();
    let yard = Yard::new(&bench);
    yard.build("nonroot", "registry:2-nonroot");

    yard.docker.run(&[
        "run",
        "-d",
        "-p",
        "5000:5000",
        "--name",
        "registry",
        "registry:2-nonroot",
    ]);
    yard.answer("http://localhost:5000/v2/");

    let image = yard.push(1, "localhost:5000/app:latest");
    yard.assert_pulls("localhost:5000/app:latest", &image);
    assert_eq!(yard.docker.run(&["exec", "registry", "id", "-u"]).text(), "65532");
}

/// Checks exit code 0: a container that is killed after its time limit ends with 137. `docker stop` alone gives ten
/// seconds; here nothing may depend on how busy the machine is.
fn ends_by_itself_when_it_is_stopped_during_a_push() {
    let bench = Workbench::new();
    let yard = Yard::new(&bench);
    yard.docker
        .run(&["run", "-d", "-p", "5000:5000", "--name", "registry", "registry:2"]);
    yard.answer("http://localhost:5000/v2/");

    let stop = ["stop", "--time", "600", "registry"];

    let (mut push, _said) = yard.begin_push();
    thread::scope(|scope| {
        let stopped = scope.spawn(|| yard.docker.run(&stop));
        yard.wait_for_the_drain();
        push.stdin.take().unwrap().write_all(b" and the rest").unwrap();
        let acknowledged = push.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&acknowledged.stdout), "202 0-16");
        stopped.join().unwrap();
    });
    assert_eq!(yard.inspect("registry", "{{.State.ExitCode}}"), "0");

    // And if the client never ends, the drain does.
    yard.docker.run(&["start", "registry"]);
    yard.answer("http://localhost:5000/v2/");
    let (mut push, _said) = yard.begin_push();
    yard.docker.run(&stop);
    assert_eq!(yard.inspect("registry", "{{.State.ExitCode}}"), "0");
    push.kill().unwrap();
    push.wait().unwrap();
}

impl Yard<'_> {
    /// Starts a client in the middle of a chunk, which prints the status and range of the answer at the end. The
    /// registry has asked for the bytes. Also returns the client's output.
    fn begin_push(&self) -> (Child, impl BufRead) {
        let mut open = self.docker.inside("curl");
        open.args(["--silent", "--request", "POST", "--output", "/dev/null"]);
        open.args(["--write-out", "%header{location}"]);
        open.arg("http://localhost:5000/v2/slow/app/blobs/uploads/");
        let session = output_of(open).unwrap();

        let mut append = self.docker.inside("curl");
        append.args([
            "--silent",
            "--verbose",
            "--no-buffer",
            "--expect100-timeout",
            "600",
        ]);
        append.args([
            "--request",
            "PATCH",
            "--upload-file",
            "-",
            "--output",
            "/dev/null",
        ]);
        append.args(["--header", "Expect: 100-continue"]);
        append.args(["--write-out", "%{http_code} %header{range}"]);
        append.arg(format!("http://localhost:5000{}", session.text()));
        append
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut append = append.spawn().unwrap();
        append.stdin.as_mut().unwrap().write_all(b"some").unwrap();
        let mut said = BufReader::new(append.stderr.take().unwrap());
        let asked = said
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find(|line| line.contains("100 Continue"));
        asked.expect("the registry asks for the body");
        (append, said)
    }

    /// Waits until the registry has begun its drain.
    fn wait_for_the_drain(&self) {
        let drains = || self.docker.run(&["logs", "registry"]).log.contains("stopping: ");
        assert!((0..2000).any(|_| drains()), "the registry is not told to stop");
    }

    /// Kills a container's process as the kernel does when memory is short.
    pub(super) fn kill(&self, container: &str) {
        let process = self.inspect(container, "{{.State.Pid}}");
        let mut command = self.bench.command("kill");
        command.args(["-9", &process]);
        output_of(command).unwrap();
    }

    /// Waits until docker reports something other than `before` about a container.
    pub(super) fn wait_for_another(&self, container: &str, format: &str, before: &str) {
        // Each question takes the engine a moment, which is the pause.
        let changed = (0..2000).any(|_| self.inspect(container, format) != before);
        assert!(changed, "{container} stays {before}");
    }
}

//! `registry serve --htpasswd`: logins by every common kind of hash, with real clients.

use std::{fs, path::PathBuf, process::Command};

use libtest_mimic::Trial;

use crate::{
    docker::{self, Engine, where_engines_start},
    image::{DockerArchive, Layer, Layout},
    program::{Workbench, argument},
    server::{Server, end_of},
};

/// Headers for `user:password` and `user:wrong`.
const RIGHT: (&str, &str) = ("Authorization", "Basic dXNlcjpwYXNzd29yZA==");
const WRONG: (&str, &str) = ("Authorization", "Basic dXNlcjp3cm9uZw==");

/// Line of the user `user` with the password `password`, by `openssl passwd -apr1`.
const LINE: &str = "user:$apr1$salt$Xxd1irWT9ycqoYxGFn4cb.\n";

/// Password of every user in [`every_kind`].
const PASSWORD: &str = "größe:72";

/// Users made by Debian's `htpasswd`, one for each of its options.
const APACHE: [(&str, &str); 7] = [
    ("-B", "bcrypt"),
    ("-m", "apr1"),
    ("-s", "sha"),
    ("-d", "des"),
    ("-2", "sha256"),
    ("-5", "sha512"),
    ("-5r20000", "rounds"),
];

/// Hashes of [`PASSWORD`] by other programs: crypt(3) of libxcrypt 4.4, and passlib 1.7.4 for `{SSHA}`.
const OTHERS: [(&str, &str); 4] = [
    (
        "2a",
        "$2a$04$abcdefghijklmnopqrstueFIwWVaWcpyebkmk24JJ2g7mt587ZBHW",
    ),
    (
        "2b",
        "$2b$04$abcdefghijklmnopqrstueFIwWVaWcpyebkmk24JJ2g7mt587ZBHW",
    ),
    ("ssha", "{SSHA}erATDC8yYHZMw9hQEh9Zu5wtynUuRUjpXau1tg=="),
    ("md5", "$1$saltsalt$NiVWJzpFhCksTXnkuUcOc1"),
];

pub(crate) fn trials() -> Vec<Trial> {
    [
        trials!([];
            asks_for_a_login_and_logs_the_failed_ones,
            follows_the_file,
            rules_know_who_logged_in,
            does_not_start_without_its_users,
            makes_its_users_if_the_configuration_says_so,
        ),
        trials!(["htpasswd", "skopeo"]; skopeo_logs_in_by_every_kind, skopeo_pushes_and_pulls),
        trials!(["htpasswd", "podman"]; podman_logs_in_by_every_kind, podman_pushes_and_pulls),
        where_engines_start(trials!(["htpasswd", docker::PROGRAMS[0], docker::PROGRAMS[1]];
            docker_logs_in_by_every_kind, docker_pushes_and_pulls,
        )),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn users(bench: &Workbench, text: &str) -> PathBuf {
    let path = bench.path("users");
    fs::write(&path, text).unwrap();
    path
}

fn server(bench: &Workbench, users: &std::path::Path, options: &[&str]) -> Server {
    let options = [&["--htpasswd", argument(users)], options].concat();
    Server::ours_with(&bench.path("root"), &options)
}

fn asks_for_a_login_and_logs_the_failed_ones() {
    let bench = Workbench::new();
    let server = server(&bench, &users(&bench, LINE), &["--realm", "Équipe \"A\""]);
    let ping = |headers: &[_], status| server.request("GET", "/v2/", headers, b"").expect_status(status);

    server.says(&format!("docker login {}", server.address()));
    let challenge = ping(&[], 401);
    assert_eq!(
        challenge.header("www-authenticate"),
        Some(r#"Basic realm="Équipe \"A\"""#)
    );
    ping(&[RIGHT], 200);
    ping(&[WRONG], 401);
    server.says(r#"msg="login failed" client=127.0.0.1 reason="wrong password" user=user"#);

    // Nothing for strangers, everything for users.
    let push = |headers: &[_], status| {
        server
            .request("POST", "/v2/a/blobs/uploads/", headers, b"")
            .expect_status(status)
    };
    push(&[], 401);
    push(&[RIGHT], 202);
    server.request("GET", "/v2/_catalog", &[], b"").expect_status(401);

    for _ in 0..9 {
        ping(&[WRONG], 401);
    }
    let wait = ping(&[WRONG], 429);
    let seconds: u64 = wait.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&seconds), "{seconds}");
    ping(&[RIGHT], 200);
}

fn follows_the_file() {
    let bench = Workbench::new();
    let path = users(&bench, LINE);
    let server = server(&bench, &path, &[]);
    let ping = |status| server.request("GET", "/v2/", &[RIGHT], b"").expect_status(status);
    ping(200);

    fs::write(&path, "nonsense").unwrap();
    server.says("line 1: not of the form `user:hash`; the users of the last valid file stay in use");
    ping(200);

    let mut change = Command::new(env!("CARGO_BIN_EXE_registry"));
    change.args(["htpasswd", "-bc", argument(&path), "user", "other"]);
    let (status, said) = end_of(change);
    assert!(status.success(), "{said}");
    server.says("the htpasswd file has changed and was read");
    ping(401);
}

fn rules_know_who_logged_in() {
    let bench = Workbench::new();
    let rules = bench.path("rules.yml");
    let text = "rules: [{ repository: 'users/{user}/**', who: authenticated, allow: all }]\n";
    fs::write(&rules, text).unwrap();
    let server = server(&bench, &users(&bench, LINE), &["--access", argument(&rules)]);
    let push = |repository: &str, headers: &[_], status| {
        let target = format!("/v2/{repository}/blobs/uploads/");
        server
            .request("POST", &target, headers, b"")
            .expect_status(status);
    };

    push("users/user/app", &[RIGHT], 202);
    push("users/other/app", &[RIGHT], 403);
    push("users/user/app", &[], 401);
}

fn does_not_start_without_its_users() {
    let bench = Workbench::new();
    let refused = |name: &str| {
        let mut command = Server::ours_command(&bench.path("root"));
        command.arg("--htpasswd").arg(bench.path(name));
        let (status, said) = end_of(command);
        assert!(!status.success());
        said
    };

    // The guide writes one name and configures another.
    fs::create_dir(bench.path("auth")).unwrap();
    fs::write(bench.path("auth/passwordfile"), LINE).unwrap();
    let said = refused("auth/registry.password");
    assert!(
        said.contains("there is no htpasswd file") && said.contains("auth/passwordfile looks like one"),
        "{said}"
    );
    let made_by = format!(
        "; `registry htpasswd -c {} USER` creates one",
        bench.path("auth/registry.password").display()
    );
    assert!(said.contains(&made_by), "{said}");
    fs::remove_file(bench.path("auth/passwordfile")).unwrap();
    let said = refused("auth/registry.password");
    assert!(
        said.contains("auth.htpasswd.path (--htpasswd): there is no htpasswd file")
            && said.contains(&made_by),
        "{said}"
    );
    let said = refused("auth");
    assert!(said.contains("auth is a directory"), "{said}");
    assert!(!bench.path("root").exists());
}

fn makes_its_users_if_the_configuration_says_so() {
    let bench = Workbench::new();
    let (config, path) = (bench.path("config.yml"), bench.path("auth/htpasswd"));
    let text = format!(
        "version: 0.1\nauth: {{ htpasswd: {{ path: {}, realm: Registry, autocreate: true }} }}\n",
        path.display()
    );
    fs::write(&config, text).unwrap();

    let server = Server::ours_with(&bench.path("root"), &[argument(&config)]);

    server.says("created an htpasswd file with one user");
    server.request("GET", "/v2/", &[RIGHT], b"").expect_status(401);
    assert!(fs::read_to_string(path).unwrap().starts_with("docker:$2y$10$"));
}

/// Writes a file with a user for every kind of hash, and returns those users.
fn every_kind(bench: &Workbench) -> (PathBuf, Vec<&'static str>) {
    let others: String = OTHERS
        .iter()
        .map(|(user, hash)| format!("{user}:{hash}\n"))
        .collect();
    let path = users(bench, &others);
    for (option, user) in APACHE {
        bench.run("htpasswd", &["-b", option, argument(&path), user, PASSWORD]);
    }
    let users = APACHE
        .iter()
        .chain(&OTHERS)
        .map(|(name, other)| if name.starts_with('-') { *other } else { *name });
    (path, users.collect())
}

fn skopeo_logs_in_by_every_kind() {
    logs_in_by_every_kind("skopeo");
}

fn podman_logs_in_by_every_kind() {
    logs_in_by_every_kind("podman");
}

/// Checks podman or skopeo, which both report the same message.
fn logs_in_by_every_kind(program: &str) {
    let bench = Workbench::new();
    let (path, users) = every_kind(&bench);
    let server = server(&bench, &path, &[]);
    let address = server.address().to_string();
    for user in users {
        let login = |password| {
            [
                "login",
                "--tls-verify=false",
                "-u",
                user,
                "-p",
                password,
                &*address,
            ]
        };
        let refused = bench.refused(program, &login("wrong"));
        assert!(refused.contains("invalid username/password"), "{refused}");
        bench.run(program, &login(PASSWORD));
    }
}

fn docker_logs_in_by_every_kind() {
    let bench = Workbench::new();
    let (path, users) = every_kind(&bench);
    let server = server(&bench, &path, &[]);
    let docker = Engine::start(&bench, "engine");
    let address = server.address().to_string();
    for user in users {
        let login = |password| ["login", "-u", user, "-p", password, &*address];
        let refused = docker.refused(&login("wrong"));
        assert!(refused.contains("401 Unauthorized"), "{refused}");
        docker.run(&login(PASSWORD));
    }
}

fn skopeo_pushes_and_pulls() {
    let bench = Workbench::new();
    let (path, _) = every_kind(&bench);
    let server = server(&bench, &path, &[]);
    let layout = Layout::sample(bench.path("layout"));
    let (from, there) = (
        layout.oci("one"),
        format!("docker://{}", server.repository("team/app:one")),
    );
    let credentials = format!("--dest-creds=bcrypt:{PASSWORD}");

    let refused = bench.refused(
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "--dest-tls-verify=false",
            &from,
            &there,
        ],
    );
    assert!(refused.contains("authentication required"), "{refused}");
    bench.skopeo(&["copy", "--dest-tls-verify=false", &credentials, &from, &there]);
    let credentials = format!("--src-creds=bcrypt:{PASSWORD}");
    bench.skopeo(&[
        "copy",
        "--src-tls-verify=false",
        &credentials,
        &there,
        "oci:pulled:one",
    ]);
}

fn podman_pushes_and_pulls() {
    let bench = Workbench::new();
    let (path, _) = every_kind(&bench);
    let server = server(&bench, &path, &[]);
    let _layout = Layout::sample(bench.path("layout"));
    let reference = server.repository("team/app:one");
    let image = bench
        .podman("first", &["pull", "--quiet", "oci:layout:one"])
        .text()
        .to_owned();

    let address = server.address().to_string();
    bench.run(
        "podman",
        &[
            "login",
            "--tls-verify=false",
            "-u",
            "apr1",
            "-p",
            PASSWORD,
            &address,
        ],
    );
    bench.podman("first", &["push", "--tls-verify=false", &image, &reference]);
    bench.podman("second", &["pull", "--tls-verify=false", &reference]);
}

fn docker_pushes_and_pulls() {
    let bench = Workbench::new();
    let (path, _) = every_kind(&bench);
    let server = server(&bench, &path, &[]);
    let reference = server.repository("team/app:one");
    let image = DockerArchive::new(&[&Layer::new(1, 300_000), &Layer::new(2, 20_000)]);
    let address = server.address().to_string();
    let docker = Engine::start(&bench, "first");
    let id = docker.load(&image.to_load(&reference));

    let refused = docker.refused(&["push", &reference]);
    assert!(refused.contains("no basic auth credentials"), "{refused}");
    docker.run(&["login", "-u", "sha512", "-p", PASSWORD, &address]);
    docker.run(&["push", &reference]);

    // The client has the login, so another engine pulls with it.
    let other = Engine::start(&bench, "second");
    other.run(&["pull", &reference]);
    assert_eq!(other.id(&reference), id);
}

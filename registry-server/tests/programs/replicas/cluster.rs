//! Three replicas on one bucket, nginx in front of them, and for each replica a proxy between it and the store.

use std::{fs, io, net::SocketAddr, path::PathBuf, thread, time::Duration};

use object_stores::{HostileProxy, S3Server, SeaweedFs};
use registry_conformance::tools::Process;
use rustix::process::Signal;
use tokio::runtime::Runtime;

use crate::{
    program::{Workbench, argument, output_of},
    proxies::free_host,
    server::{Server, Starting, program},
};

/// Number of replicas.
pub(super) const REPLICAS: usize = 3;

/// Name of the bucket.
pub(super) const BUCKET: &str = "images";

/// Time from the announcement of a removal to the removal when there is no load. The times of the pushers are parts of it.
pub(super) const QUIET_DELAY: Duration = Duration::from_secs(10);

/// Name of the log of nginx, and number of its last lines that a failed test shows.
const BALANCER_LOG: &str = "balancer.log";
const SHOWN: usize = 40;

/// Line in the log of a replica that has collected and removed something.
const COLLECTED: &str = "a collection has ended";

/// One replica, which may be dead or paused.
struct Replica {
    address: SocketAddr,
    config: PathBuf,
    network: HostileProxy,
    server: Option<Server>,
    is_paused: bool,
}

/// Everything that runs. It ends when it is dropped.
pub(super) struct Cluster {
    // Before the store and the directories.
    replicas: Vec<Replica>,
    balancer: Process,
    /// Its log of errors.
    balancer_log: PathBuf,
    pub(super) address: SocketAddr,
    /// Configuration of commands, which reach the store directly.
    pub(super) config: PathBuf,
    pub(super) store: S3Server,
    /// Number of collections of the replicas by themselves that removed something.
    pub(super) collections: u64,
    pub(super) runtime: Runtime,
}

impl Cluster {
    /// Starts everything. `delay` is the time from the announcement of a removal to the removal.
    pub(super) fn start(bench: &Workbench, delay: Duration) -> Self {
        let store = SeaweedFs::start().expect("the store can be started");
        store.bucket(BUCKET).expect("the store makes a bucket");
        let host = free_host();
        let config = bench.path("commands.yml");
        fs::write(&config, configuration(&store, &store.endpoint(), delay))
            .expect("the directory is writable");
        let replicas: Vec<Replica> = (0..REPLICAS)
            .map(|number| {
                let network = HostileProxy::start(store.address()).expect("a proxy can be started");
                let config = bench.path(&format!("replica-{number}.yml"));
                let text = configuration(&store, &network.endpoint(), delay);
                fs::write(&config, text).expect("the test's directory is writable");
                let port = 5001 + u16::try_from(number).expect("there are few replicas");
                Replica {
                    address: (host, port).into(),
                    config,
                    network,
                    server: None,
                    is_paused: false,
                }
            })
            .collect();
        let address = SocketAddr::from((host, 8080));
        let addresses: Vec<SocketAddr> = replicas.iter().map(|replica| replica.address).collect();
        let mut cluster = Self {
            balancer: balancer(bench, address, &addresses),
            balancer_log: bench.path(BALANCER_LOG),
            replicas,
            address,
            config,
            store,
            collections: 0,
            runtime: Runtime::new().expect("a runtime can be started"),
        };
        cluster.restart_all();
        // Commands reach the store by an address of their own. What it can do is found out before it goes away.
        let mut check = program(env!("CARGO_BIN_EXE_registry"));
        check.args(["storage", "check"]).arg(&cluster.config);
        output_of(check).expect("the store suits replicas");
        cluster
    }

    /// Returns the addresses of the replicas.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|replica| replica.address).collect()
    }

    pub(super) fn network(&self, replica: usize) -> &HostileProxy {
        &self.replicas[replica].network
    }

    /// Kills a replica, and starts it again.
    pub(super) fn kill(&mut self, replica: usize) {
        self.collections += self.replicas[replica].kill();
        self.replicas[replica].start();
    }

    /// Ends a replica as its operators do, and starts it again.
    pub(super) fn restart(&mut self, replica: usize) {
        let replica = &mut self.replicas[replica];
        if !replica.is_paused
            && let Some(server) = replica.server.take()
        {
            server.has_said(COLLECTED);
            self.collections += collections(&server.said());
            assert_eq!(server.stop().code(), Some(0));
        }
        self.collections += replica.kill();
        replica.start();
    }

    /// Stops a replica where it is, in the middle of whatever it does.
    pub(super) fn pause(&mut self, replica: usize) {
        self.replicas[replica].signal(Signal::STOP);
        self.replicas[replica].is_paused = true;
    }

    pub(super) fn resume(&mut self, replica: usize) {
        if self.replicas[replica].is_paused {
            self.replicas[replica].signal(Signal::CONT);
            self.replicas[replica].is_paused = false;
        }
    }

    /// Kills the store, and starts it again.
    pub(super) fn kill_store(&mut self) {
        self.store.kill().expect("the store can be killed");
        self.store.restart().expect("the store starts again");
    }

    /// Cuts the connections between a replica and the store, and refuses further ones.
    pub(super) fn cut(&self, replica: usize) {
        self.runtime
            .block_on(self.replicas[replica].network.refuse_connections());
    }

    pub(super) fn mend(&self, replica: usize) {
        let accepting = self.replicas[replica].network.accept_connections();
        match accepting {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => panic!("the proxy is gone: {error}"),
            _ => {}
        }
    }

    /// Starts everything again, so that nothing that was sent before takes effect later. From then on, the replicas do not
    /// collect by themselves, and commands wait less for them.
    pub(super) fn stop_collecting(&mut self) {
        let direct = configuration(&self.store, &self.store.endpoint(), QUIET_DELAY);
        fs::write(&self.config, direct).expect("the test's directory is writable");
        for replica in &self.replicas {
            let text = configuration(&self.store, &replica.network.endpoint(), QUIET_DELAY);
            let text = text.replace("collect: { enabled: true,", "collect: { enabled: false,");
            fs::write(&replica.config, text).expect("the test's directory is writable");
        }
        self.restart_all();
    }

    /// Kills all replicas, which have to run until then.
    pub(super) fn stop(&mut self) {
        for replica in &mut self.replicas {
            self.collections += replica.kill();
        }
    }

    /// Kills all replicas and the store, and starts them again. Nothing that was sent before takes effect later.
    pub(super) fn restart_all(&mut self) {
        self.stop();
        for replica in 0..REPLICAS {
            self.mend(replica);
        }
        self.kill_store();
        let starting: Vec<Starting> = self.replicas.iter().map(Replica::starting).collect();
        for (replica, starting) in self.replicas.iter_mut().zip(starting) {
            replica.server = Some(starting.listening("http://"));
        }
    }
}

impl Replica {
    fn start(&mut self) {
        self.server = Some(self.starting().listening("http://"));
    }

    fn starting(&self) -> Starting {
        let mut command = program(env!("CARGO_BIN_EXE_registry"));
        command
            .args(["serve", "--addr", &self.address.to_string()])
            .arg(&self.config);
        Starting::new(command)
    }

    /// Kills the server, if there is one. Returns the number of its collections that removed something.
    fn kill(&mut self) -> u64 {
        self.is_paused = false;
        let Some(mut server) = self.server.take() else {
            return 0;
        };
        let has_ended = server.has_ended();
        let log = server.kill_and_listen();
        // Clients would not notice: nginx asks another one.
        assert!(
            !has_ended && !log.contains("panicked at"),
            "a replica has ended by itself or panicked:\n{log}"
        );
        collections(&log)
    }

    fn signal(&self, what: Signal) {
        if let Some(server) = &self.server {
            server.signal(what);
        }
    }
}

/// Counts the collections that removed something in a log.
fn collections(log: &str) -> u64 {
    log.matches(COLLECTED).count() as u64
}

/// Returns true for a line in the log of a replica about something that clients do all the time.
fn is_usual(line: &str) -> bool {
    ["pulled", "pushed"]
        .iter()
        .any(|what| line.contains(&format!("msg=\"{what} ")))
}

/// Returns the configuration of a replica that reaches the store at an endpoint.
fn configuration(store: &S3Server, endpoint: &str, delay: Duration) -> String {
    format!(
        "version: 0.1\n\
         log: {{ accesslog: {{ disabled: true }} }}\n\
         storage:\n\
         \x20 s3:\n\
         \x20   bucket: {BUCKET}\n\
         \x20   region: {}\n\
         \x20   regionendpoint: {endpoint}\n\
         \x20   accesskey: {}\n\
         \x20   secretkey: {}\n\
         \x20   chunksize: 5m\n\
         \x20 delete: {{ enabled: true }}\n\
         \x20 redirect: {{ disable: true }}\n\
         \x20 maintenance:\n\
         \x20   collect: {{ enabled: true, grace: 0s, delay: {}s }}\n",
        store.region(),
        store.access_key(),
        store.secret(),
        delay.as_secs(),
    )
}

/// Starts nginx in front of the replicas. Requests that change something are sent once: a second attempt elsewhere would
/// be acknowledged while the first may still be performed.
fn balancer(bench: &Workbench, address: SocketAddr, replicas: &[SocketAddr]) -> Process {
    let path = bench.path("balancer.conf");
    let directory = bench.path("balancer");
    fs::create_dir(&directory).expect("the test's directory is writable");
    let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|place| format!("{place}_temp_path {}/{place};\n", directory.display()))
        .concat();
    let servers: String = replicas
        .iter()
        .map(|address| format!("server {address} max_fails=1 fail_timeout=1s;\n"))
        .collect();
    let pass = "proxy_pass http://replicas; proxy_set_header Host $http_host; proxy_http_version 1.1; \
                proxy_request_buffering off; proxy_connect_timeout 2s; proxy_read_timeout 10s;";
    let text = format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {0}/pid;\nerror_log {1} error;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n\
         access_log off;\n{places}\
         upstream replicas {{\n{servers}}}\n\
         server {{\n\
         listen {address};\n\
         client_max_body_size 0;\n\
         location / {{\n\
         if ($request_method !~ ^(GET|HEAD)$) {{ rewrite ^ /once$uri last; }}\n\
         {pass}\n\
         }}\n\
         location /once/ {{\n\
         internal;\n\
         rewrite ^/once(/.*)$ $1 break;\n\
         proxy_next_upstream off;\n\
         {pass}\n\
         }}\n\
         }}\n\
         }}\n",
        directory.display(),
        bench.path(BALANCER_LOG).display(),
    );
    fs::write(&path, text).expect("the test's directory is writable");
    let mut command = bench.command("nginx");
    command.args(["-e", "stderr", "-p", argument(&directory), "-c", argument(&path)]);
    let mut process = Process::start(&mut command).expect("nginx can be started");
    process
        .wait_for_connections(address)
        .unwrap_or_else(|error| panic!("nginx does not start: {error}"));
    process
}

impl Drop for Cluster {
    #[expect(clippy::print_stderr, reason = "the logs of a failed test")]
    fn drop(&mut self) {
        let servers = self
            .replicas
            .iter_mut()
            .filter_map(|replica| replica.server.take());
        for server in servers {
            let said = server.kill_and_listen();
            if thread::panicking() {
                let lines = said.lines().filter(|line| !is_usual(line));
                eprintln!("a replica said:\n{}", lines.collect::<Vec<_>>().join("\n"));
            }
        }
        if thread::panicking() {
            let log = fs::read_to_string(&self.balancer_log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(SHOWN)..];
            eprintln!("nginx said at last:\n{}", last.join("\n"));
        }
        // It ends its workers as well. Killed, if that fails.
        _ = self.balancer.stop();
    }
}

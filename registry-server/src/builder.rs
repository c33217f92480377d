//! [`ServerBuilder`]: starts a server from a configuration.

use crate::{
    absent, access,
    backend::{self, HostStorage},
    clock::{ServerClock, TrustedClock},
    config::{Config, Settings, StorageKind},
    control::{self, ControlSocket, Operators},
    debug::Debug,
    doors::Doors,
    maintenance::Maintenance,
    opening::Opening,
    retention::Immutable,
    server::Server,
    start_error::StartError,
    tasks::Tasks,
    users, wiring,
};
use axum::Router;
use registry_auth_htpasswd::Htpasswd;
use registry_auth_rules::{Rules, RulesFile};
use registry_core::{
    Authenticator, Authorizer, Hooks, Registry, Storage,
    maintenance::{Collections, Notes, VerifyStatus},
    service::Builder,
};
use registry_storage_fs::FsStorage;
use std::{
    convert::Infallible,
    fmt,
    future::Future,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

/// Longest drain, which no clock overflows with: a year.
const LONGEST_DRAIN: Duration = Duration::from_secs(365 * 24 * 3600);

/// Server that is not started yet: a configuration, and the parts that the host adds or replaces.
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use registry_server::{Config, ServerBuilder, Sources};
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::load(Sources::new().file("registry.yml"))?;
/// let server = ServerBuilder::from_config(config)
///     .routes(Router::new().route("/hello", get(async || "hello")))
///     .start()
///     .await?;
/// println!("listening on {}", server.url());
/// server.run_until(async { _ = tokio::signal::ctrl_c().await }).await?;
/// # Ok(())
/// # }
/// ```
pub struct ServerBuilder {
    config: Config,
    routes: Option<Router>,
    storage: Option<HostStorage>,
    authenticator: Option<Arc<dyn Authenticator>>,
    authorizer: Option<Arc<dyn Authorizer>>,
    hooks: Vec<Arc<dyn Hooks>>,
    access_log: Option<Box<dyn Write + Send>>,
    commands: bool,
    runtime_directory: Option<PathBuf>,
}

impl ServerBuilder {
    /// Prepares the server of a configuration.
    #[must_use]
    pub const fn from_config(config: Config) -> Self {
        Self {
            config,
            routes: None,
            storage: None,
            authenticator: None,
            authorizer: None,
            hooks: Vec::new(),
            access_log: None,
            commands: true,
            runtime_directory: None,
        }
    }

    /// Serves these routes beside the registry. Without routes of the host, `/` is a page that explains the address.
    ///
    /// The registry keeps its own paths, `/v2` and everything below. The routes have the access log, the metrics and the
    /// allowed networks of the server, but no login.
    #[must_use]
    pub fn routes(mut self, routes: Router) -> Self {
        self.routes = Some(routes);
        self
    }

    /// Keeps images in this storage, in place of the configured one.
    ///
    /// A server on an [`FsStorage`], which is not wrapped, takes the commands of operators, as with the configured directory.
    #[must_use]
    pub fn storage(mut self, storage: impl Storage) -> Self {
        self.storage = Some(HostStorage::of(storage));
        self
    }

    /// Identifies users in place of `auth` in the configuration.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Decides about accesses in place of the configured rules.
    #[must_use]
    pub fn authorizer(mut self, authorizer: impl Authorizer) -> Self {
        self.authorizer = Some(Arc::new(authorizer));
        self
    }

    /// Adds hooks, which are asked after those that were added before.
    #[must_use]
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks.push(Arc::new(hooks));
        self
    }

    /// Writes the access log there, unless the configuration disables it. Without this there is none.
    ///
    /// A thread of its own writes the lines. Lines that it cannot write fast enough are dropped and counted.
    #[must_use]
    pub fn access_log(mut self, out: impl Write + Send + 'static) -> Self {
        self.access_log = Some(Box::new(out));
        self
    }

    /// Opens no socket for the commands of operators, such as `registry ls` and `registry rm`.
    ///
    /// A server that owns its directory otherwise listens on the Unix socket `docker/registry/v2/_control/socket` in it.
    /// Only the user of this process can enter the directory of the socket, and other users but root are refused.
    #[must_use]
    pub fn without_commands(mut self) -> Self {
        self.commands = false;
        self
    }

    /// Sets a directory for the socket for the commands of operators. It is used if the storage cannot hold sockets, as
    /// some network file systems cannot. The socket is then in a private directory below it.
    ///
    /// Without it such a server takes no commands, and logs a warning.
    #[must_use]
    pub fn runtime_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.runtime_directory = Some(directory.into());
        self
    }

    /// Opens the storage, listens, and serves, on the tokio runtime of the caller.
    ///
    /// Waits for a directory that another process owns, as long as `storage.filesystem.wait` allows. Waits for the store of a
    /// bucket, however long; meanwhile clients are answered 503, and health tells the reason.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future ends the start, and the wait for the directory.
    ///
    /// # Errors
    ///
    /// [`StartError`] with the part that failed.
    pub async fn start(self) -> Result<Server, StartError> {
        let never = pin!(std::future::pending::<Infallible>());
        match self.start_unless(never).await? {
            Ok(server) => Ok(server),
            Err(never) => match never {},
        }
    }

    /// Starts as [`start`](Self::start) does, unless a future ends before the directory is free.
    pub(crate) async fn start_unless<T>(
        self,
        stop: Pin<&mut (impl Future<Output = T> + Send)>,
    ) -> Result<Result<Server, T>, StartError> {
        let Self {
            config: Config { mut settings, .. },
            routes,
            storage,
            authenticator,
            authorizer,
            hooks,
            access_log,
            commands,
            runtime_directory,
        } = self;
        settings.timeouts.drain = settings.timeouts.drain.min(LONGEST_DRAIN);
        let settings = &settings;
        let access = Access::open(settings, authenticator, authorizer)?;
        let maintenance = Maintenance::open(settings).map_err(StartError::Retention)?;
        let immutable = access.immutable();
        let mut tasks = Tasks::default();
        let mut log = access_log;
        // A directory may be in use by a server that this one replaces, which then has the ports, too.
        let (mut early, mut opening) = (None, None);
        if let (StorageKind::Bucket(bucket), None) = (&settings.storage.kind, &storage) {
            let opened = Opening::of(bucket);
            let doors = Doors::open(settings, log.take(), &mut tasks).await?;
            early = Some(doors.answer(settings, routes.clone(), &opened, &mut tasks));
            opening = Some(opened);
        }
        let opened = backend::open(settings, storage, opening.as_ref(), stop).await;
        let (backend, maintenance) = match opened.map_err(|error| StartError::Storage(error.into()))? {
            Ok(backend) => maintenance.of(backend, immutable.clone(), settings),
            Err(stopped) => return Ok(Err(stopped)),
        };
        let mut doors = match early {
            Some(doors) => doors,
            None => Doors::open(settings, log, &mut tasks).await?,
        };
        if access.is_open() {
            warn_of_open_access(settings, doors.address);
        }
        let mut debug = doors.debug.take();
        let access_log = doors.access_log.clone();
        let directory = backend.directory().cloned();
        let bucket = backend.bucket().cloned();
        let served = directory.as_ref().filter(|_| commands);
        let socket = served.and_then(|root| listen_for_commands(root, runtime_directory.as_deref()));
        let storage = backend.into_storage(settings, debug.as_mut(), &mut tasks);
        let builder = wiring::configured(Registry::builder(storage), settings);
        let builder = hooks.into_iter().fold(builder, Builder::hooks);
        let registry = access.decided(builder, debug.as_mut(), &mut tasks).build();
        let notes = maintenance.start(&registry, settings, &mut tasks);
        let clock = TrustedClock::start(&*notes).await;
        let collections = start_upkeep(&registry, settings, notes, debug.as_mut(), &mut tasks);
        let grace = settings.storage.collect.grace;
        let operators = Operators::of(registry.clone(), access_log.clone(), collections, grace, clock);
        let operators = operators.with_immutable(immutable);
        take_commands(socket, operators, settings.timeouts.drain, &mut tasks);
        let mount = wiring::mounted(registry.clone(), settings).map_err(StartError::Address)?;
        let operators = debug.as_ref().map(Debug::address);
        let app = wiring::routes(&mount, settings, routes, debug, access_log.clone(), &mut tasks);
        let (address, url, writer) = (doors.address, doors.url.clone(), doors.writer.take());
        let (serving, stop) = doors.serve(app, settings);
        tracing::info!("listening on {url}");
        Ok(Ok(Server {
            address,
            url,
            operators,
            registry,
            mount,
            directory,
            bucket,
            drain: settings.timeouts.drain,
            tasks,
            serving,
            stop,
            access_log: writer,
        }))
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Ends abandoned uploads, removes old records of deletions and what nothing refers to, and verifies what is stored,
/// from now on.
fn start_upkeep(
    registry: &Registry,
    settings: &Settings,
    notes: Arc<dyn Notes>,
    debug: Option<&mut Debug>,
    tasks: &mut Tasks,
) -> Collections {
    let registry = registry.clone();
    let (expiry, trash) = (settings.storage.expiry, settings.storage.trash);
    let verify = settings.storage.verify;
    let shrinks_below = settings.storage.trash_shrinks_below();
    let verified = VerifyStatus::default();
    let collect = settings.storage.collect.schedule(&**registry.storage(), trash);
    let collections = Collections::default();
    if let Some(debug) = debug {
        debug.uploads(registry.upload_ledger().clone());
        debug.verified(verified.clone());
        debug.collections(collections.clone());
    }
    let counted = collections.clone();
    tasks.repeat("upkeep", move || {
        let upkeep = registry
            .upkeep()
            .uploads(expiry)
            .trash(Some(trash))
            .shrinking_trash(shrinks_below)
            .verify(verify, verified.clone())
            .collect(collect, counted.clone())
            .notes(Arc::clone(&notes));
        async move { upkeep.run(&ServerClock::start()).await }
    });
    collections
}

/// Listens for the commands of operators. A server that cannot do so serves its clients all the same.
fn listen_for_commands(directory: &FsStorage, elsewhere: Option<&Path>) -> Option<ControlSocket> {
    let socket = ControlSocket::bind(directory, elsewhere).unwrap_or_else(|error| {
        tracing::warn!("commands of operators cannot reach this server: {error}");
        None
    })?;
    tracing::info!("commands of operators on {}", socket.path().display());
    Some(socket)
}

/// Users and rules of a server.
struct Access {
    users: Users,
    rules: Option<RulesFile>,
    /// In place of the rules.
    authorizer: Option<Arc<dyn Authorizer>>,
}

enum Users {
    None,
    File(Htpasswd),
    Host(Arc<dyn Authenticator>),
}

impl Access {
    /// Opens the files that the configuration names and the host does not replace.
    fn open(
        settings: &Settings,
        authenticator: Option<Arc<dyn Authenticator>>,
        authorizer: Option<Arc<dyn Authorizer>>,
    ) -> Result<Self, StartError> {
        let users = match authenticator {
            Some(authenticator) => Users::Host(authenticator),
            None => match users::open(settings.login.as_ref()).map_err(StartError::Users)? {
                Some(file) => Users::File(file),
                None => Users::None,
            },
        };
        let rules = match (&authorizer, settings.access.as_deref()) {
            (None, Some(path)) => Some(access::open(path).map_err(StartError::Rules)?),
            _ => None,
        };
        if let Some(rules) = &rules {
            for notice in notices(&rules.rules(), &users) {
                tracing::warn!("access rules: {notice}");
            }
        }
        Ok(Self {
            users,
            rules,
            authorizer,
        })
    }

    /// Returns the tags that nobody may overwrite.
    fn immutable(&self) -> Immutable {
        match (&self.authorizer, &self.rules) {
            (Some(_), _) => Immutable::Unknown,
            (None, Some(rules)) => Immutable::ByRules(rules.clone()),
            (None, None) => Immutable::None,
        }
    }

    /// Returns true if nothing restricts any client.
    const fn is_open(&self) -> bool {
        matches!(self.users, Users::None) && self.rules.is_none() && self.authorizer.is_none()
    }

    /// Lets users log in and rules decide, which follow their files from now on.
    ///
    /// Without rules, logged-in users may do everything. If nobody can log in, every client may, as with registry:2.
    fn decided(self, registry: Builder, debug: Option<&mut Debug>, tasks: &mut Tasks) -> Builder {
        let is_open = self.is_open();
        if let (Some(rules), Users::File(users)) = (&self.rules, &self.users) {
            absent::follow(rules.clone(), users.clone(), tasks);
        }
        let registry = match (self.authorizer, self.rules) {
            (Some(authorizer), _) => registry.authorizer(authorizer),
            (None, Some(rules)) => {
                access::follow(&rules, tasks);
                registry.authorizer(rules)
            }
            (None, None) if is_open => registry.allow_anonymous_push(),
            (None, None) => registry,
        };
        match (self.users, debug) {
            (Users::None, _) => registry,
            (Users::File(users), debug) => {
                users::follow(&users, tasks);
                match debug {
                    Some(debug) => registry.authenticator(debug.logins(users)),
                    None => registry.authenticator(users),
                }
            }
            (Users::Host(users), Some(debug)) => registry.authenticator(debug.logins(users)),
            (Users::Host(users), None) => registry.authenticator(users),
        }
    }
}

/// Returns notices about the rules.
fn notices(rules: &Rules, users: &Users) -> Vec<String> {
    match users {
        Users::None => access::notices(rules, None),
        Users::File(users) => access::notices(rules, Some(users)),
        // Only the host knows who can log in.
        Users::Host(_) => access::warnings(rules),
    }
}

/// Takes commands of operators on a socket, if there is one.
fn take_commands(socket: Option<ControlSocket>, operators: Operators, drain: Duration, tasks: &mut Tasks) {
    if let Some(socket) = socket {
        tasks.serve("control socket", |stop| {
            control::serve(socket, operators, drain, stop)
        });
    }
}

/// Warns of a registry that anybody on the network can push to, unless the configuration asks for it.
fn warn_of_open_access(settings: &Settings, address: Option<SocketAddr>) {
    if is_open_by_mistake(settings.open_on_purpose, address) {
        tracing::warn!(
            address = address.map(tracing::field::display),
            "everyone who can reach this address can pull and push; to require a login, set `auth.htpasswd` or --htpasswd FILE; if no login is intended, set `auth: none`"
        );
    }
}

/// Returns true if others than this machine reach the address, and the configuration does not say that anybody may.
fn is_open_by_mistake(on_purpose: bool, address: Option<SocketAddr>) -> bool {
    let is_reachable = address.is_some_and(|address| !address.ip().is_loopback());
    is_reachable && !on_purpose
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_has_the_users_is_warned_of_rules() {
        let text = "rules: [{repository: '**', who: 'group:none', allow: pull}]";
        let rules = Rules::parse(text, "rules.yml").unwrap();
        let authenticator = registry_core::auth::FromExtensions;
        assert_eq!(rules.warnings().len(), 1);
        assert_eq!(notices(&rules, &Users::Host(Arc::new(authenticator))).len(), 1);
    }

    #[test]
    fn who_lets_everybody_in_is_warned_unless_that_was_said() {
        let address = |text: &str| Some(text.parse().unwrap());
        assert!(is_open_by_mistake(false, address("0.0.0.0:5000")));
        for (on_purpose, address) in [
            (true, address("0.0.0.0:5000")),
            (false, address("127.0.0.1:5000")),
            (false, address("[::1]:5000")),
            (false, None),
        ] {
            assert!(!is_open_by_mistake(on_purpose, address), "{address:?}");
        }
    }
}

//! The registry and its router, as the settings want them.

use crate::{
    access_log::AccessLog,
    admission::Admission,
    config::{self, Location, Settings},
    debug::Debug,
    headers::AnswerHeaders,
    links::LinksFromRequest,
    proxies::ProxyWarnings,
    root,
    tasks::Tasks,
    transfers::Transfers,
};
use axum::{
    Router,
    extract::Request,
    middleware,
    response::Response,
    routing::{any, get},
};
use registry_axum::Mount;
use registry_core::{
    Registry,
    service::{Builder, FileSender, Limits},
};
use registry_listener::Server;
use std::{error::Error, sync::Arc};

/// Applies limits and permissions that hold for all users.
pub(crate) fn configured(mut registry: Builder, settings: &Settings) -> Builder {
    let storage = &settings.storage;
    let mut limits = Limits::default();
    limits.blob_bytes = storage.blob_bytes;
    limits.catalog_n = storage.catalog_n;
    limits.uploads = storage.uploads;
    limits.uploads_in_repository = storage.repository_uploads;
    limits.uploads_of_user = storage.user_uploads;
    limits.name_components = storage.name_components;
    limits.document_bytes = usize::try_from(storage.document_bytes).unwrap_or(usize::MAX);
    registry = registry.limits(limits);
    for (setting, key) in config::remedies(settings) {
        registry = registry.remedy(setting, key);
    }
    if !storage.whole_indexes {
        registry = registry.allow_sparse_indexes();
    }
    if !storage.exact_sizes {
        registry = registry.allow_wrong_sizes();
    }
    if storage.read_only {
        // Turning deletion on would not help, so no answer says so.
        registry = registry.read_only();
    } else if !storage.deletion {
        registry = registry.without_deletion();
    }
    if let Some(urls) = storage.layer_urls.clone() {
        registry = registry.layer_urls(move |url| urls.allows(url));
    }
    registry
}

/// Mounts the registry at its path, with the external URL for links.
pub(crate) fn mounted(
    registry: Registry,
    settings: &Settings,
) -> Result<Mount, Box<dyn Error + Send + Sync>> {
    let prefix = &settings.http.prefix;
    let mount = Mount::new(registry).at(prefix)?;
    Ok(match &settings.http.location {
        Location::Absolute(url) => mount.external_path(&format!("{url}{prefix}"))?,
        Location::Relative | Location::FromRequest => mount,
    })
}

/// Builds the router: the registry, the host's routes or `/`, and the layers around them, the outermost one last.
pub(crate) fn routes(
    mount: &Mount,
    settings: &Settings,
    host: Option<Router>,
    debug: Option<Debug>,
    access_log: Option<AccessLog>,
    tasks: &mut Tasks,
) -> Router {
    let headers = AnswerHeaders::new(settings.http.headers.clone());
    let warnings = Arc::new(ProxyWarnings::default());
    let registry = mount
        .router()
        .layer(middleware::from_fn_with_state(headers, AnswerHeaders::add));
    // A fallback, and no merge: the registry owns its paths, and no route of the host can collide with them.
    let mut app: Router = match host {
        Some(host) => registry.fallback_service(host.layer(middleware::map_request(without_sender))),
        None => registry.route("/", get(root::page)),
    };
    if settings.http.location == Location::FromRequest {
        app = app.layer(middleware::map_request_with_state(
            LinksFromRequest::new(&settings.http.prefix, Arc::clone(&warnings)),
            LinksFromRequest::add,
        ));
    }
    if let Some(debug) = debug {
        app = app.layer(debug.serve(tasks));
    }
    around(app, settings, &warnings, access_log)
}

/// Builds the router of a server whose storage is not open: `later` answers for the registry, and the host's routes or `/`
/// are as always.
pub(crate) fn early<F>(
    later: fn() -> F,
    settings: &Settings,
    host: Option<Router>,
    access_log: Option<AccessLog>,
) -> Router
where
    F: Future<Output = Response> + Send + 'static,
{
    let base = format!("{}/v2", settings.http.prefix);
    let registry = Router::new()
        .route(&base, any(later))
        .route(&format!("{base}/"), any(later))
        .route(&format!("{base}/{{*path}}"), any(later));
    let app = match host {
        Some(host) => registry.fallback_service(host.layer(middleware::map_request(without_sender))),
        None => registry.route("/", get(root::page)),
    };
    around(app, settings, &Arc::default(), access_log)
}

/// Adds the layers that every request passes.
fn around(
    mut app: Router,
    settings: &Settings,
    warnings: &Arc<ProxyWarnings>,
    access_log: Option<AccessLog>,
) -> Router {
    let warnings = Arc::clone(warnings);
    let admission = Arc::new(settings.http.admission.clone());
    app = app.layer(middleware::from_fn_with_state(
        Arc::clone(&admission),
        Admission::admit,
    ));
    app = match access_log {
        Some(log) => app.layer(middleware::from_fn_with_state(log, AccessLog::log)),
        None => app.layer(middleware::from_fn_with_state(
            Transfers::new(&settings.http.prefix),
            Transfers::log,
        )),
    };
    app.layer(middleware::map_request(move |mut request: Request| {
        admission.identify(&mut request, &warnings);
        std::future::ready(request)
    }))
}

/// Withdraws the offer of the listener to send files, which the routes of a host may have layers around.
async fn without_sender(mut request: Request) -> Request {
    request.extensions_mut().remove::<FileSender>();
    request
}

/// Builds the listener for clients.
pub(crate) fn listener(app: Router, settings: &Settings, access_log: Option<AccessLog>) -> Server {
    let proxies = settings.http.admission.proxies.clone();
    Server::new(app)
        .on_refusal(move |refused| {
            if let Some(log) = &access_log {
                log.refused(&proxies, refused);
            }
        })
        .timeouts(settings.timeouts)
        .limits(settings.limits)
        // No layer here looks at more of a body than its length, and the routes of a host do not get the offer.
        .sendfile()
}

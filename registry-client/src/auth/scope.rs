//! Scopes of tokens: the rights that a request needs.
//!
//! Specification: the token scopes of Docker's registry.

use registry_core::{
    RepositoryName,
    protocol::{Endpoint, Request},
};
use std::collections::{BTreeMap, BTreeSet};

/// Returns the repository of a request.
pub(crate) fn repository(request: &Request) -> Option<RepositoryName> {
    match request.endpoint() {
        Endpoint::Tags(name)
        | Endpoint::Referrers(name, _)
        | Endpoint::Blob(name, _)
        | Endpoint::Manifest(name, _)
        | Endpoint::Uploads(name)
        | Endpoint::Upload(name, _) => Some(name),
        _ => None,
    }
}

/// Returns the scopes that a request needs.
pub(crate) fn scopes(request: &Request) -> Vec<String> {
    let of = |repository: &RepositoryName, actions: &str| format!("repository:{repository}:{actions}");
    match request {
        Request::Catalog { .. } => vec!["registry:catalog:*".to_owned()],
        Request::Tags { repository, .. }
        | Request::Referrers { repository, .. }
        | Request::Blob { repository, .. }
        | Request::Manifest { repository, .. } => vec![of(repository, "pull")],
        Request::DeleteBlob { repository, .. } | Request::DeleteManifest { repository, .. } => {
            vec![of(repository, "delete")]
        }
        Request::Mount { repository, from, .. } => {
            let from = from.iter().map(|from| of(from, "pull"));
            from.chain([of(repository, "pull,push")]).collect()
        }
        Request::PutManifest { repository, .. }
        | Request::OpenUpload { repository, .. }
        | Request::PushBlob { repository, .. }
        | Request::UploadStatus { repository, .. }
        | Request::Append { repository, .. }
        | Request::Close { repository, .. }
        | Request::Cancel { repository, .. } => vec![of(repository, "pull,push")],
        _ => Vec::new(),
    }
}

/// Joins the actions for the same resource, so that equal rights are equal texts.
pub(crate) fn merged<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut resources: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for scope in scopes {
        let (resource, actions) = scope.rsplit_once(':').unwrap_or((scope, ""));
        resources.entry(resource).or_default().extend(actions.split(','));
    }
    let join = |(resource, actions): (&str, BTreeSet<&str>)| {
        let actions: Vec<&str> = actions.into_iter().filter(|action| !action.is_empty()).collect();
        match actions.is_empty() {
            true => resource.to_owned(),
            false => format!("{resource}:{}", actions.join(",")),
        }
    };
    resources.into_iter().map(join).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_core::{Algorithm, Digest};

    #[test]
    fn a_mount_needs_two_scopes_and_a_ping_none() {
        let name = |name: &str| RepositoryName::parse(name).unwrap();
        let mount = Request::Mount {
            repository: name("a"),
            digest: Digest::of(Algorithm::Sha256, b""),
            from: Some(name("b")),
        };
        let scopes_of_mount = scopes(&mount);
        let merged = merged(scopes_of_mount.iter().map(String::as_str));
        assert_eq!(merged, ["repository:a:pull,push", "repository:b:pull"]);
        assert_eq!(scopes(&Request::Ping), [""; 0]);
    }

    #[test]
    fn actions_for_the_same_resource_are_joined_in_order() {
        let scopes = [
            "repository:h:5000/a:push,pull",
            "repository:b:pull",
            "repository:h:5000/a:pull",
            "odd",
        ];
        assert_eq!(
            merged(scopes),
            ["odd", "repository:b:pull", "repository:h:5000/a:pull,push"]
        );
    }
}

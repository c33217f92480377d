//! Permissions that a request needs, for the challenge when it is refused.

use crate::{
    auth::{Access, Action},
    protocol::Request,
    reference::Reference,
};

/// Returns every access that a request needs. A token that grants all of them suffices for the whole request.
pub(super) fn needs(request: &Request) -> Vec<Access> {
    match request {
        Request::Options { .. } | Request::Ping => Vec::new(),
        Request::Catalog { .. } => vec![Access::catalog()],
        Request::Tags { repository, .. }
        | Request::Referrers { repository, .. }
        | Request::Blob { repository, .. }
        | Request::Manifest { repository, .. } => vec![Access::to(repository, Action::Pull)],
        Request::DeleteBlob { repository, .. }
        | Request::DeleteManifest {
            repository,
            reference: Reference::Digest(_),
        } => vec![Access::to(repository, Action::Delete)],
        Request::DeleteManifest {
            repository,
            reference: Reference::Tag(tag),
        } => vec![Access::to_tag(repository, Action::Delete, tag)],
        Request::PutManifest {
            repository,
            reference,
            tags,
            ..
        } => {
            let own = match reference {
                Reference::Tag(tag) => Some(tag),
                Reference::Digest(_) => None,
            };
            let tags = tags.iter().chain(own);
            let tagged = tags.map(|tag| Access::to_tag(repository, Action::Push, tag));
            std::iter::once(Access::to(repository, Action::Push))
                .chain(tagged)
                .collect()
        }
        Request::OpenUpload { repository, .. }
        | Request::PushBlob { repository, .. }
        | Request::UploadStatus { repository, .. }
        | Request::Append { repository, .. }
        | Request::Close { repository, .. }
        | Request::Cancel { repository, .. } => vec![Access::to(repository, Action::Push)],
        Request::Mount { repository, from, .. } => {
            let source = from.as_ref().map(|from| Access::to(from, Action::Pull));
            [Access::to(repository, Action::Push)]
                .into_iter()
                .chain(source)
                .collect()
        }
    }
}

//! Listings of tags.

use super::RemoteRepository;
use crate::{
    call::Call,
    error::{Error, Result},
    pages::Pages,
    transport::Answered,
};
use registry_core::{
    Tag,
    protocol::{PageQuery, Request},
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Body {
    /// Docker's registry sends `null` for a repository without tags.
    tags: Option<Vec<String>>,
}

impl RemoteRepository {
    /// Lists the tags. Not all registries sort them.
    #[must_use]
    pub fn tags(&self) -> Pages<Tag> {
        self.tags_page(PageQuery::default())
    }

    /// Lists the tags after `last`, for example to continue a listing. `last` need not exist.
    ///
    /// The order is that of the registry, and some registries ignore `last`.
    #[must_use]
    pub fn tags_after(&self, last: Tag) -> Pages<Tag> {
        self.tags_page(PageQuery::default().after(last))
    }

    fn tags_page(&self, page: PageQuery<Tag>) -> Pages<Tag> {
        let request = Request::Tags {
            repository: self.name.clone(),
            page,
        };
        Pages::new(self.client.clone(), Call::new(&self.host, request), parse)
    }
}

fn parse(answered: &Answered, body: &[u8]) -> Result<Vec<Tag>> {
    let malformed = |problem: String| {
        Error::protocol(
            &*answered.named,
            format!("the list of tags is malformed: {problem}"),
        )
    };
    let body: Body = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    let tags = body.tags.unwrap_or_default();
    tags.iter()
        .map(|tag| Tag::parse(tag).map_err(|error| malformed(error.to_string())))
        .collect()
}

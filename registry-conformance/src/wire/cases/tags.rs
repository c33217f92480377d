//! Tags: listed in order and in pages, moved, and deleted without their manifest.

use super::{
    list::List,
    steps::{push, serves, tag, tagged_image},
};
use crate::wire::{
    content::DataSet,
    failure::Outcome,
    session::{Repository, Session},
};

pub(super) fn add(list: &mut List) {
    list.add("tags/empty", empty);
    list.add("tags/list", all_listed);
    list.add("tags/byte-order", byte_order);
    list.add("tags/n", n);
    list.add("tags/n-zero", n_zero);
    list.add("tags/n-beyond-the-end", n_beyond_the_end);
    list.add("extra/tags/n-empty", n_empty);
    list.add("tags/last", last);
    list.add("tags/last-without-n", last_without_n);
    list.add("tags/last-names-no-tag", last_names_no_tag);
    list.add("tags/link", link);
    list.add("tags/no-link-on-exact-end", no_link_on_exact_end);
    list.add("tags/longest", longest);
    list.add("tags/moved", moved);
    list.add("tags/gone-after-delete-by-digest", gone_after_delete_by_digest);
    list.add(
        "tags/digest-kept-after-delete-by-tag",
        digest_kept_after_delete_by_tag,
    );
    list.add(
        "tags/siblings-kept-after-delete-by-tag",
        siblings_kept_after_delete_by_tag,
    );
    list.add("tags/delete-missing", delete_missing);
    list.add("tags/pushed-again-after-delete", pushed_again_after_delete);
    list.add(
        "extra/tags/empty-list-after-the-last-is-deleted",
        empty_after_the_last_is_deleted,
    );
}

/// Tags whose order differs by case, by directory walk, and by byte.
const NAMES: [&str; 9] = ["1", "1-alpine", "1.2", "10", "2", "A", "Z", "_x", "a"];

async fn is_list(repository: &Repository, query: &str, expected: &[&str]) -> Outcome {
    let answer = repository.get(&format!("tags/list{query}")).await?.is(200)?;
    if answer.strings("tags")? != expected || answer.json()?["name"] != repository.name.as_str() {
        return Err(answer.fail(&format!(
            "the name {:?} and the tags {expected:?}",
            repository.name
        )));
    }
    Ok(())
}

/// Before any push, the answer is an empty list, or that there is no such repository.
async fn empty(session: Session) -> Outcome {
    let answer = session.repository().get("tags/list").await?.one_of(&[200, 404])?;
    if answer.status == 200 && !answer.strings("tags")?.is_empty() {
        return Err(answer.fail("no tags"));
    }
    Ok(())
}

/// Checks that all tags are on one page. Their order is tested by `byte-order`.
async fn is_whole_without_link(repository: &Repository, query: &str, expected: &[&str]) -> Outcome {
    let answer = repository
        .get(&format!("tags/list{query}"))
        .await?
        .is(200)?
        .lacks("link")?;
    let mut tags = answer.strings("tags")?;
    tags.sort();
    if tags != expected || answer.json()?["name"] != repository.name.as_str() {
        return Err(answer.fail(&format!(
            "the name {:?} and the tags {expected:?}",
            repository.name
        )));
    }
    Ok(())
}

async fn all_listed(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["b", "c", "a"]).await?;
    is_whole_without_link(&repository, "", &["a", "b", "c"]).await
}

async fn byte_order(session: Session) -> Outcome {
    // Neither sorted nor reversed, so that a store that lists in the order of pushes does not pass.
    let shuffled = ["2", "Z", "1.2", "a", "1", "_x", "10", "1-alpine", "A"];
    let (repository, _) = tagged_image(&session, &shuffled).await?;
    is_list(&repository, "", &NAMES).await
}

async fn n(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &NAMES).await?;
    is_list(&repository, "?n=4", &NAMES[..4]).await?;
    is_list(&repository, "?n=1", &NAMES[..1]).await
}

async fn n_zero(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["a", "b"]).await?;
    is_list(&repository, "?n=0", &[]).await?;
    repository.get("tags/list?n=0").await?.lacks("link")?;
    Ok(())
}

async fn n_beyond_the_end(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["a", "b"]).await?;
    for query in ["?n=3", "?n=900"] {
        is_whole_without_link(&repository, query, &["a", "b"]).await?;
    }
    Ok(())
}

/// A form field that was not filled in counts as no `n`.
async fn n_empty(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["a", "b"]).await?;
    for query in ["?n=", "?n=&last="] {
        is_whole_without_link(&repository, query, &["a", "b"]).await?;
    }
    Ok(())
}

async fn last(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &NAMES).await?;
    is_list(&repository, "?n=2&last=1.2", &NAMES[3..5]).await?;
    is_list(&repository, "?last=_x&n=5", &["a"]).await?;
    is_list(&repository, "?n=5&last=a", &[]).await
}

async fn last_without_n(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &NAMES).await?;
    is_list(&repository, "?last=2", &NAMES[5..]).await
}

async fn last_names_no_tag(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &NAMES).await?;
    is_list(&repository, "?last=1.1", &NAMES[2..]).await?;
    is_list(&repository, "?last=zzz", &[]).await
}

async fn link(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &NAMES).await?;
    let pages = session.pages(&repository.path("tags/list?n=2"), "tags").await?;
    let lengths: Vec<usize> = pages.iter().map(Vec::len).collect();
    if lengths != [2, 2, 2, 2, 1] || pages.concat() != NAMES {
        let answer = repository.get("tags/list?n=2").await?;
        return Err(answer.fail(&format!("five pages that make up {NAMES:?}, not {pages:?}")));
    }
    Ok(())
}

async fn no_link_on_exact_end(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["a", "b"]).await?;
    is_whole_without_link(&repository, "?n=2", &["a", "b"]).await
}

async fn longest(session: Session) -> Outcome {
    let names = ["x".repeat(128), "_".into(), "A.b-C_9".into()];
    for name in &names {
        let (repository, set) = tagged_image(&session, &[name]).await?;
        serves(&repository, name, set.top()).await?;
    }
    Ok(())
}

async fn moved(session: Session) -> Outcome {
    let (repository, first) = tagged_image(&session, &["moved"]).await?;
    let second = DataSet::image(&session);
    push(&repository, &second).await?;
    tag(&repository, "moved", second.top()).await?;
    serves(&repository, "moved", second.top()).await?;
    serves(&repository, &first.top().digest.to_string(), first.top()).await?;
    is_list(&repository, "", &["moved"]).await
}

/// Both tags are deleted with the manifest, and the tag of another manifest stays.
async fn gone_after_delete_by_digest(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["one", "two"]).await?;
    let other = DataSet::image(&session);
    push(&repository, &other).await?;
    tag(&repository, "other", other.top()).await?;

    repository.delete_manifest(set.top().digest).await?.is(202)?;

    for reference in ["one", "two"] {
        repository.head_manifest(reference).await?.is(404)?;
        repository.get_manifest(reference).await?.is(404)?;
    }
    is_list(&repository, "", &["other"]).await?;
    serves(&repository, "other", other.top()).await
}

async fn digest_kept_after_delete_by_tag(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["gone"]).await?;
    repository.delete_manifest("gone").await?.is(202)?;
    repository.head_manifest("gone").await?.is(404)?;
    serves(&repository, &set.top().digest.to_string(), set.top()).await
}

async fn siblings_kept_after_delete_by_tag(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["gone", "stays"]).await?;
    repository.delete_manifest("gone").await?.is(202)?;
    repository.head_manifest("gone").await?.is(404)?;
    serves(&repository, "stays", set.top()).await?;
    is_list(&repository, "", &["stays"]).await
}

async fn delete_missing(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    repository.delete_manifest("missing").await?.is(404)?;
    serves(&repository, "tagged", set.top()).await
}

async fn pushed_again_after_delete(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    repository.delete_manifest(set.top().digest).await?.is(202)?;
    tag(&repository, "tagged", set.top()).await?;
    serves(&repository, "tagged", set.top()).await?;
    is_list(&repository, "", &["tagged"]).await
}

/// The repository still exists: its list is empty, and never `null`.
async fn empty_after_the_last_is_deleted(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["gone"]).await?;
    repository.delete_manifest("gone").await?.is(202)?;
    is_list(&repository, "", &[]).await
}

//! Pages of tags and repositories: byte order of the whole name, `after` exclusive and free, `more` exact.

use super::{Backend, support::*};
use registry_core::{
    RepositoryName, Tag,
    storage::{Deletion, Page, Storage},
};
use std::collections::BTreeSet;

/// Names whose order differs if directories are walked or prefixes are listed.
const TAGS: [&str; 14] = [
    "1",
    "1-alpine",
    "1-alpine.3",
    "1.2",
    "1.2-alpine",
    "1.2.3",
    "10",
    "1_",
    "A",
    "_",
    "a",
    "a-b",
    "a.b",
    "latest",
];

const REPOSITORIES: [&str; 14] = [
    "a",
    "a-b",
    "a-b/c",
    "a.b",
    "a/b",
    "a/b-c",
    "a/b/c",
    "a/b0",
    "a0",
    "a0/b",
    "a__b",
    "b",
    "library/alpine",
    "z/z/z/z",
];

async fn tag_names(backend: &Backend, names: impl IntoIterator<Item = &str>) -> Vec<Tag> {
    let names: Vec<&str> = names.into_iter().collect();
    put(&backend.first, &repository("a"), Image::new(1).tagged(&names)).await;
    let mut model: Vec<Tag> = names.into_iter().map(tag).collect();
    model.sort();
    model.dedup();
    model
}

async fn repository_names(backend: &Backend, names: impl IntoIterator<Item = &str>) -> Vec<RepositoryName> {
    let mut model: Vec<RepositoryName> = names.into_iter().map(repository).collect();
    for name in &model {
        put(&backend.first, name, Image::new(1).tagged(&[])).await;
    }
    model.sort();
    model.dedup();
    model
}

async fn check_tags(storage: &dyn Storage, model: &[Tag], after: Option<&Tag>, limit: usize) {
    let page = Page::first(limit).after(after);
    let listing = storage.tags(&repository("a"), page).await.unwrap().unwrap();
    assert_page(&listing, beyond(model, after), limit);
}

async fn check_repositories(
    storage: &dyn Storage,
    model: &[RepositoryName],
    after: Option<&RepositoryName>,
    limit: usize,
) {
    let listing = storage
        .repositories(Page::first(limit).after(after))
        .await
        .unwrap();
    assert_page(&listing, beyond(model, after), limit);
}

fn beyond<'a, K: Ord>(model: &'a [K], after: Option<&K>) -> &'a [K] {
    &model[model.partition_point(|name| after.is_some_and(|after| name <= after))..]
}

pub async fn tags_are_listed_in_byte_order_after_any_name(backend: Backend) {
    let model = tag_names(&backend, TAGS.into_iter().rev()).await;
    let between = ["0", "1-", "1.", "1.2-", "1z", "a-", "zz"].map(tag);
    for limit in [0, 1, 2, 5, TAGS.len(), 1000] {
        check_tags(&backend.second, &model, None, limit).await;
        for after in model.iter().chain(&between) {
            check_tags(&backend.second, &model, Some(after), limit).await;
        }
    }
}

pub async fn repositories_are_listed_in_byte_order_after_any_name(backend: Backend) {
    let model = repository_names(&backend, REPOSITORIES.into_iter().rev()).await;
    let between = ["0", "a-a", "a/a", "a/b/a", "a/c", "aa", "m/n", "zz"].map(repository);
    for limit in [0, 1, 2, 5, REPOSITORIES.len(), 1000] {
        check_repositories(&backend.second, &model, None, limit).await;
        for after in model.iter().chain(&between) {
            check_repositories(&backend.second, &model, Some(after), limit).await;
        }
    }
}

/// Returns a short name of few characters, so that many names are prefixes of others.
fn random_name(random: &mut Random, separators: &[&str]) -> String {
    let mut name = String::from(random.one_of(&["0", "1", "a", "z"]));
    for _ in 0..random.below(4) {
        name.push_str(random.one_of(separators));
        name.push_str(random.one_of(&["0", "1", "a", "z"]));
    }
    name
}

pub async fn random_tags_are_paged_as_a_sorted_model_says(backend: Backend) {
    let mut random = Random::new(1);
    let names: BTreeSet<String> = (0..80)
        .map(|_| random_name(&mut random, &["", "-", ".", "_", "--"]))
        .collect();
    let model = tag_names(&backend, names.iter().map(String::as_str)).await;
    for _ in 0..200 {
        let after = tag(&random_name(&mut random, &["", "-", ".", "_", "--"]));
        check_tags(&backend.second, &model, Some(&after), random.below(12)).await;
    }
}

pub async fn random_repositories_are_paged_as_a_sorted_model_says(backend: Backend) {
    let separators = ["", "-", ".", "_", "__", "/", "/"];
    let mut random = Random::new(2);
    let names: BTreeSet<String> = (0..50).map(|_| random_name(&mut random, &separators)).collect();
    let model = repository_names(&backend, names.iter().map(String::as_str)).await;
    for _ in 0..200 {
        let after = repository(&random_name(&mut random, &separators));
        check_repositories(&backend.second, &model, Some(&after), random.below(12)).await;
    }
}

pub async fn names_that_come_and_go_while_paging_shift_no_page(backend: Backend) {
    let a = repository("a");
    tag_names(&backend, ["b", "d", "f", "h"]).await;
    let page = |after| Page::first(2).after(after);
    let first = backend.first.tags(&a, page(None)).await.unwrap().unwrap();
    assert_eq!(texts(&first.items), ["b", "d"]);

    // Changes before, at and after the position of the page.
    put(&backend.second, &a, Image::new(2).tagged(&["a", "c", "e"])).await;
    let expect = registry_core::storage::TagExpect::Any;
    writer(&backend.second)
        .delete_tag(&a, &tag("d"), expect, Deletion::new())
        .await
        .unwrap();

    let (d, f) = (tag("d"), tag("f"));
    let second = backend.first.tags(&a, page(Some(&d))).await.unwrap().unwrap();
    assert_eq!(
        (texts(&second.items), second.more),
        (vec!["e".into(), "f".into()], true)
    );
    let third = backend.first.tags(&a, page(Some(&f))).await.unwrap().unwrap();
    assert_eq!((texts(&third.items), third.more), (vec!["h".into()], false));
}

pub async fn repositories_that_come_while_paging_shift_no_page(backend: Backend) {
    repository_names(&backend, ["b", "d/d", "f", "h"]).await;
    let page = |after| Page::first(2).after(after);
    assert_eq!(
        texts(&backend.first.repositories(page(None)).await.unwrap().items),
        ["b", "d/d"]
    );

    repository_names(&backend, ["a", "d", "d/e"]).await;

    let position = repository("d/d");
    let second = backend.second.repositories(page(Some(&position))).await.unwrap();
    assert_eq!(
        (texts(&second.items), second.more),
        (vec!["d/e".into(), "f".into()], true)
    );
}

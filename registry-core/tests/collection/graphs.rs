//! Random graphs: a run leaves exactly what a naive search reaches.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const REPOSITORIES: [&str; 2] = ["a", "b"];
const BLOBS: [&str; 5] = ["0", "1", "2", "3", "4"];
const TAGS: [&str; 3] = ["t0", "t1", "t2"];

/// A request of a client. Numbers count what was pushed before; requests for what is not there do nothing.
#[derive(Clone, Debug)]
enum Step {
    Blob(usize, usize),
    Image {
        repository: usize,
        blobs: Vec<usize>,
        subject: Option<usize>,
        tag: Option<usize>,
    },
    Index {
        repository: usize,
        children: Vec<usize>,
        subject: Option<usize>,
        tag: Option<usize>,
    },
    DeleteTag(usize, usize),
    DeleteManifest(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let repository = 0..REPOSITORIES.len();
    let blobs = proptest::collection::vec(0..BLOBS.len(), 1..4);
    let children = proptest::collection::vec(0..8_usize, 0..3);
    let subject = proptest::option::of(0..8_usize);
    let tag = proptest::option::of(0..TAGS.len());
    let step = prop_oneof![
        2 => (repository.clone(), 0..BLOBS.len()).prop_map(|(repository, blob)| Step::Blob(repository, blob)),
        4 => (repository.clone(), blobs, subject.clone(), tag.clone())
            .prop_map(|(repository, blobs, subject, tag)| Step::Image { repository, blobs, subject, tag }),
        3 => (repository.clone(), children, subject, tag)
            .prop_map(|(repository, children, subject, tag)| Step::Index { repository, children, subject, tag }),
        1 => (repository.clone(), 0..TAGS.len()).prop_map(|(repository, tag)| Step::DeleteTag(repository, tag)),
        1 => (repository, 0..8_usize).prop_map(|(repository, manifest)| Step::DeleteManifest(repository, manifest)),
    ];
    proptest::collection::vec(step, 1..25)
}

/// The documents of one repository, in the order of their pushes, and its tags.
#[derive(Default)]
struct Model {
    pushed: Vec<(Digest, Value)>,
    manifests: BTreeMap<Digest, Value>,
    blobs: BTreeSet<Digest>,
    tags: BTreeMap<String, Digest>,
}

/// Content that is left in a storage.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left(BTreeSet<String>);

async fn push(pushed: &Pushed, models: &mut [Model; 2], step: Step) {
    match step {
        Step::Blob(repository, blob) => {
            let digest = pushed.blob(REPOSITORIES[repository], BLOBS[blob]).await;
            models[repository].blobs.insert(digest);
        }
        Step::Image {
            repository,
            blobs,
            subject,
            tag,
        } => {
            let contents: Vec<&str> = blobs.into_iter().map(|blob| BLOBS[blob]).collect();
            for content in &contents {
                let digest = pushed.blob(REPOSITORIES[repository], content).await;
                models[repository].blobs.insert(digest);
            }
            put(pushed, models, repository, image(&contents), subject, tag).await;
        }
        Step::Index {
            repository,
            children,
            subject,
            tag,
        } => {
            let model = &models[repository];
            let children: Vec<&Value> = children
                .into_iter()
                .filter_map(|child| model.pushed.get(child))
                .filter(|(digest, _)| model.manifests.contains_key(digest))
                .map(|(_, document)| document)
                .collect();
            put(pushed, models, repository, index(&children), subject, tag).await;
        }
        Step::DeleteTag(repository, tag) => {
            let model = &mut models[repository];
            if model.tags.remove(TAGS[tag]).is_some() {
                pushed.delete(REPOSITORIES[repository], TAGS[tag]).await;
            }
        }
        Step::DeleteManifest(repository, manifest) => {
            let model = &mut models[repository];
            let Some((digest, _)) = model.pushed.get(manifest).cloned() else {
                return;
            };
            if model.manifests.remove(&digest).is_some() {
                model.tags.retain(|_, target| *target != digest);
                pushed.delete(REPOSITORIES[repository], &digest.to_string()).await;
            }
        }
    }
}

async fn put(
    pushed: &Pushed,
    models: &mut [Model; 2],
    repository: usize,
    document: Value,
    subject: Option<usize>,
    tag: Option<usize>,
) {
    let model = &mut models[repository];
    let subject = subject.and_then(|subject| model.pushed.get(subject));
    let document = match subject {
        Some((subject, _)) => referring_to(document, subject),
        None => document,
    };
    let tag = tag.map(|tag| TAGS[tag]);
    let digest = pushed.put(REPOSITORIES[repository], tag, &document).await;
    model.pushed.push((digest, document.clone()));
    model.manifests.insert(digest, document);
    if let Some(tag) = tag {
        model.tags.insert(tag.to_owned(), digest);
    }
}

fn digests(document: &Value, field: &str) -> Vec<Digest> {
    let items = match &document[field] {
        Value::Array(items) => items.clone(),
        Value::Null => Vec::new(),
        item => vec![item.clone()],
    };
    items
        .iter()
        .map(|item| Digest::parse(item["digest"].as_str().unwrap()).unwrap())
        .collect()
}

impl Model {
    /// Returns the manifests that stay, searched until nothing is added.
    fn reachable(&self, untagged: bool) -> BTreeSet<Digest> {
        let roots = match untagged {
            true => self.tags.values().copied().collect(),
            false => self.manifests.keys().copied().collect(),
        };
        let mut kept: BTreeSet<Digest> = roots;
        loop {
            let before = kept.len();
            for (digest, document) in &self.manifests {
                if digests(document, "subject")
                    .iter()
                    .any(|subject| kept.contains(subject))
                {
                    kept.insert(*digest);
                }
                if kept.contains(digest) {
                    // A child that is not there keeps nothing.
                    let children = digests(document, "manifests");
                    kept.extend(children.iter().filter(|child| self.manifests.contains_key(child)));
                }
            }
            if kept.len() == before {
                return kept;
            }
        }
    }
}

/// Returns what has to be left.
fn expected(models: &[Model; 2], untagged: bool) -> Left {
    let mut left = BTreeSet::new();
    for (name, model) in REPOSITORIES.iter().zip(models) {
        let manifests = model.reachable(untagged);
        let named: BTreeSet<Digest> = manifests
            .iter()
            .filter_map(|digest| model.manifests.get(digest))
            .flat_map(|document| {
                let config = digests(document, "config");
                config.into_iter().chain(digests(document, "layers"))
            })
            .collect();
        let links: Vec<&Digest> = model.blobs.intersection(&named).collect();
        if !manifests.is_empty() || !links.is_empty() {
            left.insert(format!("repository {name}"));
        }
        left.extend(manifests.iter().map(|digest| format!("manifest {name}@{digest}")));
        left.extend(links.iter().map(|digest| format!("link {name}@{digest}")));
        left.extend(links.iter().map(|digest| format!("data {digest}")));
        left.extend(
            model
                .tags
                .iter()
                .map(|(tag, target)| format!("tag {name}:{tag} {target}")),
        );
    }
    Left(left)
}

async fn check(steps: Vec<Step>, untagged: bool) {
    let pushed = Pushed::new();
    let mut models = [Model::default(), Model::default()];
    for step in steps {
        push(&pushed, &mut models, step).await;
    }
    let before = dump(&pushed.storage).await;
    let options = at_once().untagged(untagged);

    let (preview, listed) = run(&pushed.storage, options.dry_run(true)).await;
    assert_eq!(dump(&pushed.storage).await, before, "a dry run writes nothing");
    let (report, gone) = run(&pushed.storage, options).await;

    let left = Left(dump(&pushed.storage).await.into_iter().collect());
    assert_eq!(left, expected(&models, untagged));
    assert_eq!(gone, listed, "a dry run lists what a run removes");
    assert_eq!(report.removed, preview.removed);
    assert!(report.stopped.is_none() && report.pins.is_empty(), "{report:?}");
    let (again, gone) = run(&pushed.storage, options).await;
    assert!(gone.is_empty(), "a second run finds nothing: {again:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_left_is_what_a_search_reaches(steps in steps(), untagged in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(steps, untagged));
    }
}

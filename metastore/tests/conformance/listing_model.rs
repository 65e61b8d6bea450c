//! Listings of random key sets against a naive model; the alphabet is small, so that keys,
//! prefixes, delimiters and cursors collide. Pages concatenate to the exact set (I6).

use std::collections::BTreeSet;

use metastore::{BucketId, ListQuery, UploadId, UploadQuery};
use metastore::{ListEntry, ListPage, ListedObject, UploadPage};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::Runtime;

use crate::fixtures::{self, Store, begin, bucket, commit, object};

const CASES: u32 = 96;

#[derive(Debug, Clone)]
struct Case {
    keys: Vec<String>,
    prefix: String,
    delimiter: Option<String>,
    after: Option<String>,
    limit: usize,
}

fn any_case() -> impl Strategy<Value = Case> {
    let text = |pattern: &'static str| pattern.prop_map(String::from);
    (
        prop::collection::vec(text("[ab/\u{0}\u{10ffff}]{1,5}"), 0..24),
        text("[ab/\u{0}]{0,2}"),
        prop::option::of(text("[b/\u{0}]{0,2}")),
        prop::option::of(text("[ab/\u{0}\u{10ffff}]{0,4}")),
        1usize..6,
    )
        .prop_map(|(keys, prefix, delimiter, after, limit)| Case {
            keys,
            prefix,
            delimiter,
            after,
            limit,
        })
}

/// Whether a key stands for itself or for a common prefix, and which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    text: String,
    is_prefix: bool,
    upload: Option<UploadId>,
}

fn shown_of(case: &Case, key: &str, upload: Option<UploadId>) -> Shown {
    let delimiter = case.delimiter.as_deref().filter(|text| !text.is_empty());
    let folded = delimiter.and_then(|delimiter| {
        let at = key[case.prefix.len()..].find(delimiter)?;
        Some(key[..case.prefix.len() + at + delimiter.len()].to_owned())
    });
    match folded {
        Some(text) => Shown {
            text,
            is_prefix: true,
            upload: None,
        },
        None => Shown {
            text: key.to_owned(),
            is_prefix: false,
            upload,
        },
    }
}

/// All that the contract shows, in order.
fn naive(case: &Case, rows: &[(String, Option<UploadId>)]) -> Vec<Shown> {
    let under_prefix = rows.iter().filter(|(key, _)| key.starts_with(&case.prefix));
    let shown = under_prefix.map(|(key, upload)| shown_of(case, key, *upload));
    let visible = shown.filter(|shown| Some(&shown.text) > case.after.as_ref());
    visible.collect::<BTreeSet<_>>().into_iter().collect()
}

fn of_objects(page: &ListPage<ListedObject>) -> Vec<Shown> {
    let show = |entry: &ListEntry<ListedObject>| match entry {
        ListEntry::Item(item) => Shown {
            text: item.key.to_string(),
            is_prefix: false,
            upload: None,
        },
        ListEntry::CommonPrefix(text) => Shown {
            text: text.clone(),
            is_prefix: true,
            upload: None,
        },
    };
    page.entries.iter().map(show).collect()
}

fn of_uploads(page: &UploadPage) -> Vec<Shown> {
    let show = |entry: &metastore::UploadEntry| match entry {
        ListEntry::Item(item) => Shown {
            text: item.key.to_string(),
            is_prefix: false,
            upload: Some(item.upload.id),
        },
        ListEntry::CommonPrefix(text) => Shown {
            text: text.clone(),
            is_prefix: true,
            upload: None,
        },
    };
    page.entries.iter().map(show).collect()
}

/// Page after page of objects; a page that is not the last is full.
async fn paged_objects(store: &Store, bucket: BucketId, case: &Case) -> Vec<Shown> {
    let (mut all, mut after) = (Vec::new(), case.after.clone());
    loop {
        let query = ListQuery {
            bucket,
            prefix: case.prefix.clone(),
            delimiter: case.delimiter.clone(),
            after: after.clone(),
            limit: case.limit,
        };
        let page = store.list_objects(query).await.unwrap();
        all.extend(of_objects(&page));
        if !page.truncated {
            return all;
        }
        assert_eq!(page.entries.len(), case.limit);
        after = all.last().map(|last| last.text.clone());
    }
}

/// Page after page of uploads.
async fn paged_uploads(store: &Store, bucket: BucketId, case: &Case) -> Vec<Shown> {
    let (mut all, mut after) = (
        Vec::<Shown>::new(),
        case.after.clone().map(|key| (key, None)),
    );
    loop {
        let query = UploadQuery {
            bucket,
            prefix: case.prefix.clone(),
            delimiter: case.delimiter.clone(),
            after: after.clone(),
            limit: case.limit,
        };
        let page = store.list_uploads(query).await.unwrap();
        all.extend(of_uploads(&page));
        if !page.truncated {
            return all;
        }
        assert_eq!(page.entries.len(), case.limit);
        after = all.last().map(|last| (last.text.clone(), last.upload));
    }
}

/// Runs `check` for random cases, each in a bucket of its own.
fn for_random_cases(store: &Store, check: impl AsyncFn(&Store, BucketId, &Case)) {
    let runtime = Runtime::new().unwrap();
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..Default::default()
    };
    let mut runs = 0;
    let runs = std::cell::RefCell::new(&mut runs);
    let mut runner = TestRunner::new(config);
    runner
        .run(&any_case(), |case| {
            **runs.borrow_mut() += 1;
            let name = format!("bucket-{}", **runs.borrow());
            runtime.block_on(async {
                let id = bucket(store, &name).await;
                check(store, id, &case).await;
            });
            Ok(())
        })
        .unwrap();
}

async fn objects_match(store: &Store, id: BucketId, case: &Case) {
    for text in &case.keys {
        store
            .commit_object(commit(id, text, object(&[])))
            .await
            .unwrap();
    }
    let rows: Vec<_> = case.keys.iter().map(|key| (key.clone(), None)).collect();
    assert_eq!(paged_objects(store, id, case).await, naive(case, &rows));
}

async fn uploads_match(store: &Store, id: BucketId, case: &Case) {
    let mut rows = Vec::new();
    for text in &case.keys {
        rows.push((text.clone(), Some(begin(store, id, text).await)));
    }
    assert_eq!(paged_uploads(store, id, case).await, naive(case, &rows));
}

#[test]
fn pages_of_objects_make_up_the_exact_set_in_memory() {
    for_random_cases(&fixtures::memory(), objects_match);
}

#[test]
fn pages_of_objects_make_up_the_exact_set_on_rocks() {
    let directory = tempfile::tempdir().unwrap();
    for_random_cases(&fixtures::rocks(directory.path()), objects_match);
}

#[test]
fn pages_of_uploads_make_up_the_exact_set_in_memory() {
    for_random_cases(&fixtures::memory(), uploads_match);
}

#[test]
fn pages_of_uploads_make_up_the_exact_set_on_rocks() {
    let directory = tempfile::tempdir().unwrap();
    for_random_cases(&fixtures::rocks(directory.path()), uploads_match);
}

//! A check of histories: do the answers to concurrent requests on a tag have an order that explains them?
//!
//! A tag is a register. Each request takes effect at one moment between its begin and its end, or, if nobody has answered
//! it, at one moment or never. The check holds all states that are possible so far, each with the open requests that have
//! taken effect in it, and proceeds from one end of a request to the next.

use std::collections::{BTreeMap, BTreeSet};

/// A request on a tag, with its answer. Requests that were refused, and reads without an answer, are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// An acknowledged push.
    Put(String),
    /// A push without an answer.
    MayPut(String),
    /// A deletion; true if there was a tag.
    Delete(bool),
    /// A deletion without an answer.
    MayDelete,
    /// The target that was read, `None` if there was no tag.
    Read(Option<String>),
}

/// A moment in a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Request of this number begins.
    Begin(usize),
    /// Request of this number ends. Without an answer, it ends when it cannot take effect any more.
    End(usize),
}

/// Target of the tag, and the open requests that have taken effect.
type State = (Option<String>, BTreeSet<usize>);

impl Call {
    /// Returns the target after the request took effect, or `None` if its answer would be another one.
    fn after(&self, target: Option<&String>) -> Option<Option<String>> {
        match self {
            Self::Put(new) | Self::MayPut(new) => Some(Some(new.clone())),
            Self::Delete(found) => (target.is_some() == *found).then_some(None),
            Self::MayDelete => Some(None),
            Self::Read(seen) => (target == seen.as_ref()).then(|| seen.clone()),
        }
    }

    const fn may_never_happen(&self) -> bool {
        matches!(self, Self::MayPut(_) | Self::MayDelete)
    }
}

/// Looks for an order of the requests on a tag that does not exist before.
///
/// # Errors
///
/// Describes the first answer that nothing explains, and what came before.
pub(super) fn explain(calls: &BTreeMap<usize, Call>, moments: &[Moment]) -> Result<(), String> {
    let mut states: BTreeSet<State> = [(None, BTreeSet::new())].into();
    let mut open = BTreeSet::new();
    for (at, moment) in moments.iter().enumerate() {
        match moment {
            Moment::Begin(number) => _ = open.insert(*number),
            Moment::End(number) => {
                let next = after_end(calls, &states, &open, *number);
                open.remove(number);
                if next.is_empty() {
                    let targets: BTreeSet<_> = states.into_iter().map(|(target, _)| target).collect();
                    let before = &moments[at.saturating_sub(40)..=at];
                    let told: Vec<String> = before
                        .iter()
                        .map(|moment| match moment {
                            Moment::Begin(number) => format!("{number} begins: {:?}", calls[number]),
                            Moment::End(number) => format!("{number} ends"),
                        })
                        .collect();
                    return Err(format!(
                        "nothing explains {:?} ({number}); possible targets were {targets:?}, open are {open:?}\n{}",
                        calls[number],
                        told.join("\n")
                    ));
                }
                states = next;
            }
        }
    }
    Ok(())
}

/// Returns the requests with a stale answer in place of the last one that can have one: a target that nobody pushed again, and
/// that another push had replaced before the read began. Nothing explains such a history.
pub(super) fn with_stale_answer(
    calls: &BTreeMap<usize, Call>,
    moments: &[Moment],
) -> Option<BTreeMap<usize, Call>> {
    let (mut begins, mut ends, mut pushes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (at, moment) in moments.iter().enumerate() {
        match moment {
            Moment::Begin(number) => begins.insert(*number, at),
            Moment::End(number) => ends.insert(*number, at),
        };
    }
    for call in calls.values() {
        if let Call::Put(target) | Call::MayPut(target) = call {
            *pushes.entry(target).or_insert(0) += 1;
        }
    }
    let put = |number: &usize| match &calls[number] {
        Call::Put(target) => Some(target),
        _ => None,
    };
    let ended = |before: usize| {
        ends.iter()
            .filter(move |(_, end)| **end < before)
            .map(|(number, _)| number)
    };
    let mut reads = calls
        .iter()
        .rev()
        .filter(|(_, call)| matches!(call, Call::Read(_)));
    reads.find_map(|(read, _)| {
        let newer = ended(begins[read]).filter(|number| put(number).is_some());
        let newer = newer.max_by_key(|number| begins[number])?;
        let stale = ended(begins[newer])
            .filter_map(put)
            .find(|target| pushes[target] == 1)?;
        let mut calls = calls.clone();
        calls.insert(*read, Call::Read(Some(stale.clone())));
        Some(calls)
    })
}

/// Returns the states that are possible after the end of a request.
///
/// A request without an answer takes effect right before one that shows it, or at its end: in between it would explain
/// nothing. Otherwise, the number of states would double with each such request.
fn after_end(
    calls: &BTreeMap<usize, Call>,
    states: &BTreeSet<State>,
    open: &BTreeSet<usize>,
    ended: usize,
) -> BTreeSet<State> {
    let mut seen = states.clone();
    let mut unread: Vec<State> = states.iter().cloned().collect();
    let mut next = BTreeSet::new();
    while let Some((target, mut done)) = unread.pop() {
        if calls[&ended].may_never_happen() {
            if !done.remove(&ended) {
                next.extend(
                    calls[&ended]
                        .after(target.as_ref())
                        .map(|late| (late, done.clone())),
                );
            }
            next.insert((target, done));
            continue;
        }
        if done.remove(&ended) {
            next.insert((target, done));
            continue;
        }
        let possible = open.difference(&done).copied();
        let (late, certain): (Vec<usize>, Vec<usize>) =
            possible.partition(|number| calls[number].may_never_happen());
        for number in certain {
            let mut reached = Vec::new();
            reached.extend(calls[&number].after(target.as_ref()).map(|new| (new, None)));
            for before in late.iter().filter(|_| !matches!(calls[&number], Call::Put(_))) {
                let shown = calls[before].after(target.as_ref());
                let shown = shown.and_then(|shown| calls[&number].after(shown.as_ref()));
                reached.extend(shown.map(|new| (new, Some(*before))));
            }
            for (target, before) in reached {
                let mut done = done.clone();
                done.insert(number);
                done.extend(before);
                let state = (target, done);
                if seen.insert(state.clone()) {
                    unread.push(state);
                }
            }
        }
    }
    next
}

/// Checks the check, on histories in a short form: `w1` puts the target 1, `W1` without an answer, `r1` reads it,
/// `d` and `D` delete; `(` after a request begins it, `)` ends it.
pub(super) fn a_history_is_explained_or_not() {
    for (history, is_explained) in [
        // One after the other.
        ("w1( w1) r1( r1) w2( w2) r2( r2)", true),
        ("w1( w1) w2( w2) r1( r1)", false),
        ("r1( w1( w1) r1)", true),
        ("r1( r1) w1( w1)", false),
        // Two at once have one order for everybody.
        ("w1( w2( w1) w2) r1( r1)", true),
        ("w1( w2( w1) w2) r1( r1) r2( r2)", false),
        // What nobody answered takes effect late, once, or never.
        ("w1( w1) W2( r1( r1) r2( r2) r1a( r1a) W2)", false),
        ("w1( w1) W2( r1( r1) r2( r2) r2a( r2a) W2)", true),
        ("w1( w1) W2( w3( w3) r2( r2) W2)", true),
        ("w1( w1) W2( w3( w3) W2) r3( r3)", true),
        ("w1( w1) W2( w3( w3) W2) r2( r2)", true),
        ("w1( w1) W2( W2) w3( w3) r2( r2)", false),
        // Deletions.
        ("w1( w1) d( d) r0( r0)", true),
        ("w1( w1) d( d) r1( r1)", false),
        ("d( d)", false),
        ("w1( w1) D( r0( r0) D)", true),
        ("w1( w1) d( da( d) da)", false),
    ] {
        let (mut numbers, mut calls, mut moments) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for word in history.split(' ') {
            let (name, begins) = (&word[..word.len() - 1], word.ends_with('('));
            let count = numbers.len();
            let number = *numbers.entry(name.to_owned()).or_insert(count);
            moments.push(if begins {
                Moment::Begin(number)
            } else {
                Moment::End(number)
            });
            let value = name[1..].trim_end_matches('a').to_owned();
            calls.insert(
                number,
                match &name[..1] {
                    "w" => Call::Put(value),
                    "W" => Call::MayPut(value),
                    "d" => Call::Delete(true),
                    "D" => Call::MayDelete,
                    _ => Call::Read((value != "0").then_some(value)),
                },
            );
        }
        let explained = explain(&calls, &moments);
        assert_eq!(explained.is_ok(), is_explained, "{history}: {explained:?}");
    }
}

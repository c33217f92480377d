//! Named points at which a request between a replica and the store is held.

use object_stores::proxy::{Fault, Gate, Kind, On, on};

/// A request of a replica to the store, by its meaning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) name: &'static str,
    action: Action,
    /// Text in the key.
    key: &'static str,
    side: Side,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Write,
    Remove,
}

/// Side of the store on which the request is held.
#[derive(Clone, Copy, Debug)]
enum Side {
    /// The store has not received the request.
    Before,
    /// The store has answered.
    After,
}

const fn before(name: &'static str, action: Action, key: &'static str) -> Point {
    Point {
        name,
        action,
        key,
        side: Side::Before,
    }
}

const fn after(name: &'static str, action: Action, key: &'static str) -> Point {
    Point {
        name,
        action,
        key,
        side: Side::After,
    }
}

pub(super) const POINTS: [Point; 20] = [
    before("before the data of a blob", Action::Write, "/blobs/"),
    before("before the record of an upload", Action::Write, "/_sessions/"),
    after("after the record of an upload", Action::Write, "/_sessions/"),
    before("before the link of a layer", Action::Write, "/_layers/"),
    after("after the link of a layer", Action::Write, "/_layers/"),
    before("before the record of a manifest", Action::Write, "/revisions/"),
    after("after the record of a manifest", Action::Write, "/revisions/"),
    before("before the history of a tag", Action::Write, "/_history/"),
    before("before a tag", Action::Write, "/current/link"),
    after("after a tag", Action::Write, "/current/link"),
    before("before the entry of a referrer", Action::Write, "/_referrers/"),
    before("before the removal of a tag", Action::Remove, "/current/link"),
    after("after the removal of a tag", Action::Remove, "/current/link"),
    before("before the removal of a manifest", Action::Remove, "/revisions/"),
    after("after the removal of a manifest", Action::Remove, "/revisions/"),
    before("before a record for the trash", Action::Write, "/_trash/"),
    before(
        "before the state of a collection",
        Action::Write,
        "/_collect/state",
    ),
    after(
        "after the state of a collection",
        Action::Write,
        "/_collect/state",
    ),
    before(
        "before the announcement of removals",
        Action::Write,
        "/_collect/batches/",
    ),
    before("before the removal of bytes", Action::Remove, "/blobs/"),
];

impl Point {
    /// Returns the requests of a replica, of which the first is held.
    pub(super) fn requests(&self) -> On {
        let requests = match self.action {
            Action::Write => on(Kind::Put).or(Kind::ConditionalPut),
            Action::Remove => on(Kind::Delete).or(Kind::ConditionalDelete),
        };
        requests.key(self.key).first(1)
    }

    pub(super) fn fault(&self, gate: Gate) -> Fault {
        match self.side {
            Side::Before => Fault::Delay(gate),
            Side::After => Fault::DelayAnswer(gate),
        }
    }
}

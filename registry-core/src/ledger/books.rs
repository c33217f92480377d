//! State of an [`UploadLedger`](super::UploadLedger), as plain values.
//!
//! Three rules keep a walk correct beside requests:
//!
//! - A session that ends while a page is listed is remembered until the listing is over, so that the page does not
//!   bring it back.
//! - A listed session that is not known may be one whose opening is not recorded yet. It counts when all openings of
//!   that time are over: otherwise it would count twice meanwhile.
//! - A walk drops only sessions that were opened before it began.

use super::bounds::UploadBounds;
use crate::{error::Error, name::RepositoryName, storage::Uploader, upload_id::UploadId};
use std::collections::{BTreeSet, HashMap, HashSet, hash_map::Entry};

/// Repository and uploader that a session counts for.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) repository: RepositoryName,
    /// `None` if it is not known.
    pub(super) uploader: Option<Uploader>,
}

#[derive(Debug, Default)]
pub(super) struct Books {
    /// Repositories with at least one session that is open or being opened.
    repositories: HashMap<RepositoryName, Account>,
    totals: Totals,
    /// Numbers of the seats whose sessions are being opened.
    opening: BTreeSet<u64>,
    /// Number of the next seat.
    next_seat: u64,
    /// Number of walks that were started.
    walks: u64,
    /// Number of pages that are being listed.
    looks: usize,
    /// Sessions that ended while a page is listed.
    ended: HashSet<Key>,
    /// Listed sessions that count when all seats before `settled_at` are opened or left.
    found: HashMap<Key, Session>,
    settled_at: u64,
}

/// Name of a session. A copied directory can have one id in several repositories.
type Key = (RepositoryName, UploadId);

/// Sessions of a repository.
#[derive(Debug, Default)]
struct Account {
    sessions: HashMap<UploadId, Session>,
    /// Number of sessions that are being opened.
    opening: usize,
}

impl Account {
    fn open(&self) -> usize {
        self.sessions.len() + self.opening
    }
}

#[derive(Debug)]
struct Session {
    uploader: Option<Uploader>,
    /// Last walk that found it, or during which it was opened.
    walk: u64,
}

/// Numbers of sessions in all repositories, including those that are being opened.
#[derive(Debug, Default)]
struct Totals {
    all: usize,
    by_uploader: HashMap<Uploader, usize>,
}

impl Totals {
    fn of(&self, uploader: Option<&Uploader>) -> usize {
        let own = uploader.and_then(|who| self.by_uploader.get(who));
        own.copied().unwrap_or(0)
    }

    fn add(&mut self, uploader: Option<&Uploader>) {
        self.all += 1;
        if let Some(who) = uploader {
            *self.by_uploader.entry(who.clone()).or_default() += 1;
        }
    }

    fn remove(&mut self, uploader: Option<&Uploader>) {
        self.all -= 1;
        if let Some(who) = uploader
            && let Entry::Occupied(mut own) = self.by_uploader.entry(who.clone())
        {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

impl Books {
    pub(super) const fn open(&self) -> usize {
        self.totals.all
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.ended.len()
    }

    pub(super) fn sessions(&self) -> Vec<Key> {
        let mut sessions = Vec::new();
        for (repository, account) in &self.repositories {
            sessions.extend(account.sessions.keys().map(|id| (repository.clone(), *id)));
        }
        sessions
    }

    /// Takes a seat, and returns its number.
    pub(super) fn admit(&mut self, place: &Place, bounds: UploadBounds) -> Result<u64, Error> {
        let here = self.repositories.get(&place.repository).map_or(0, Account::open);
        let own = self.totals.of(place.uploader.as_ref());
        for (open, limit, scope) in [
            (own, bounds.of_uploader, "of this client"),
            (here, bounds.in_repository, "in this repository"),
            (self.totals.all, bounds.in_all, "in all repositories"),
        ] {
            if open >= limit {
                return Err(Error::TooManyUploads { limit, scope });
            }
        }
        self.totals.add(place.uploader.as_ref());
        self.repositories
            .entry(place.repository.clone())
            .or_default()
            .opening += 1;
        let seat = self.next_seat;
        self.next_seat += 1;
        self.opening.insert(seat);
        Ok(seat)
    }

    /// Turns a seat into an open session.
    pub(super) fn opened(&mut self, seat: u64, place: &Place, id: UploadId) {
        // A walk may have listed the session already. The opening knows its uploader.
        self.found.remove(&(place.repository.clone(), id));
        let session = Session {
            uploader: place.uploader.clone(),
            walk: self.walks,
        };
        self.add(place.repository.clone(), id, session);
        self.leave(seat, place);
    }

    /// Gives a seat back.
    pub(super) fn leave(&mut self, seat: u64, place: &Place) {
        if !self.opening.remove(&seat) {
            return;
        }
        self.totals.remove(place.uploader.as_ref());
        if let Entry::Occupied(mut account) = self.repositories.entry(place.repository.clone()) {
            account.get_mut().opening -= 1;
            if account.get().open() == 0 {
                account.remove();
            }
        }
        self.settle();
    }

    /// Records that a session has ended, which a page that is being listed may still contain.
    pub(super) fn ended(&mut self, repository: &RepositoryName, id: &UploadId) {
        self.absent(repository, id);
        if self.looks > 0 {
            self.ended.insert((repository.clone(), *id));
        }
    }

    /// Records that the storage has no such session. Nothing is remembered: clients choose these ids, so there is no
    /// end of them.
    pub(super) fn absent(&mut self, repository: &RepositoryName, id: &UploadId) {
        self.found.remove(&(repository.clone(), *id));
        let Entry::Occupied(mut account) = self.repositories.entry(repository.clone()) else {
            return;
        };
        if let Some(session) = account.get_mut().sessions.remove(id) {
            self.totals.remove(session.uploader.as_ref());
            if account.get().open() == 0 {
                account.remove();
            }
        }
    }

    pub(super) const fn begin_walk(&mut self) -> u64 {
        self.walks += 1;
        self.walks
    }

    pub(super) const fn begin_look(&mut self) {
        self.looks += 1;
    }

    /// Records that a walk has listed a session.
    pub(super) fn found(&mut self, place: Place, id: UploadId, walk: u64) {
        let account = self.repositories.get_mut(&place.repository);
        if let Some(known) = account.and_then(|account| account.sessions.get_mut(&id)) {
            known.walk = known.walk.max(walk);
            return;
        }
        let key = (place.repository, id);
        if !self.ended.contains(&key) {
            let session = Session {
                uploader: place.uploader,
                walk,
            };
            self.found.insert(key, session);
            self.settled_at = self.next_seat;
        }
    }

    pub(super) fn end_look(&mut self) {
        self.looks -= 1;
        if self.looks == 0 {
            self.ended.clear();
        }
        self.settle();
    }

    /// Marks all sessions of a repository as found.
    pub(super) fn keep(&mut self, repository: &RepositoryName, walk: u64) {
        let account = self.repositories.get_mut(repository);
        for session in account
            .into_iter()
            .flat_map(|account| account.sessions.values_mut())
        {
            session.walk = session.walk.max(walk);
        }
    }

    /// Drops the sessions that neither this walk nor a later one has found, and that were opened before it.
    pub(super) fn end_walk(&mut self, walk: u64) {
        let totals = &mut self.totals;
        self.repositories.retain(|_, account| {
            for (_, gone) in account.sessions.extract_if(|_, session| session.walk < walk) {
                totals.remove(gone.uploader.as_ref());
            }
            account.open() > 0
        });
    }

    /// Counts the sessions that were found, if none of them can be one that is being opened.
    fn settle(&mut self) {
        if self.found.is_empty() || self.opening.first().is_some_and(|seat| *seat < self.settled_at) {
            return;
        }
        for ((repository, id), session) in std::mem::take(&mut self.found) {
            self.add(repository, id, session);
        }
    }

    fn add(&mut self, repository: RepositoryName, id: UploadId, session: Session) {
        let account = self.repositories.entry(repository).or_default();
        if let Entry::Vacant(vacant) = account.sessions.entry(id) {
            self.totals.add(session.uploader.as_ref());
            vacant.insert(session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(repository: &str, user: Option<&str>) -> Place {
        Place {
            repository: RepositoryName::parse(repository).unwrap(),
            uploader: user.map(Uploader::user),
        }
    }

    fn id(number: u8) -> UploadId {
        UploadId::from_random([number; 16])
    }

    fn limited(in_all: usize) -> UploadBounds {
        UploadBounds {
            in_all,
            ..UploadBounds::NONE
        }
    }

    /// Opens a session at once.
    fn open(books: &mut Books, place: &Place, number: u8) {
        let seat = books.admit(place, UploadBounds::NONE).unwrap();
        books.opened(seat, place, id(number));
    }

    /// Lists these sessions as one page.
    fn list(books: &mut Books, walk: u64, sessions: &[(&Place, u8)]) {
        books.begin_look();
        for (place, number) in sessions {
            books.found((*place).clone(), id(*number), walk);
        }
        books.end_look();
    }

    /// Checks that nothing is left in any map.
    fn assert_empty(books: &Books) {
        assert_eq!(books.totals.all, 0);
        assert!(books.totals.by_uploader.is_empty());
        assert!(books.repositories.is_empty());
        assert!(books.opening.is_empty() && books.found.is_empty() && books.ended.is_empty());
    }

    #[test]
    fn the_bound_of_the_uploader_is_named_first_and_that_of_all_last() {
        let mut books = Books::default();
        let ann = place("a", Some("ann"));
        open(&mut books, &ann, 1);
        for (bounds, reached) in [
            ((1, 1, 1), "of this client"),
            ((2, 1, 1), "in this repository"),
            ((2, 2, 1), "in all repositories"),
        ] {
            let (of_uploader, in_repository, in_all) = bounds;
            let bounds = UploadBounds {
                in_repository,
                in_all,
                of_uploader,
            };
            let refused = books.admit(&ann, bounds).unwrap_err();
            assert!(matches!(refused, Error::TooManyUploads { limit: 1, scope } if scope == reached));
        }
        books.ended(&ann.repository, &id(1));
        assert_empty(&books);
    }

    #[test]
    fn a_seat_counts_until_it_is_left_and_is_left_once() {
        let mut books = Books::default();
        let a = place("a", Some("ann"));
        let seat = books.admit(&a, limited(1)).unwrap();
        books.admit(&a, limited(1)).unwrap_err();

        books.leave(seat, &a);
        books.leave(seat, &a);

        assert_empty(&books);
        let seat = books.admit(&a, limited(1)).unwrap();
        books.opened(seat, &a, id(1));
        books.leave(seat, &a);
        assert_eq!(books.open(), 1);
    }

    #[test]
    fn a_session_ends_once() {
        let mut books = Books::default();
        let a = place("a", Some("ann"));
        open(&mut books, &a, 1);
        open(&mut books, &a, 2);

        books.ended(&a.repository, &id(1));
        books.ended(&a.repository, &id(1));
        books.ended(&place("b", None).repository, &id(2));

        assert_eq!((books.open(), books.totals.of(a.uploader.as_ref())), (1, 1));
    }

    #[test]
    fn a_walk_adds_what_others_opened_and_drops_what_others_ended() {
        let mut books = Books::default();
        let (a, b) = (place("a", Some("ann")), place("b", None));
        open(&mut books, &a, 1);
        open(&mut books, &b, 2);

        let walk = books.begin_walk();
        list(&mut books, walk, &[(&a, 1), (&a, 3)]);
        list(&mut books, walk, &[(&b, 4)]);
        books.end_walk(walk);

        assert_eq!((books.open(), books.totals.of(a.uploader.as_ref())), (3, 2));
        let walk = books.begin_walk();
        books.end_walk(walk);
        assert_empty(&books);
    }

    #[test]
    fn a_session_that_was_opened_during_a_walk_stays() {
        let mut books = Books::default();
        let a = place("a", None);
        let early = books.admit(&a, UploadBounds::NONE).unwrap();

        let walk = books.begin_walk();
        // Opened before its page is listed, after it, and at the end: with a seat from before the walk.
        open(&mut books, &a, 1);
        list(&mut books, walk, &[]);
        open(&mut books, &a, 2);
        books.opened(early, &a, id(3));
        books.end_walk(walk);

        assert_eq!(books.open(), 3);
    }

    #[test]
    fn a_session_that_ended_while_it_was_listed_is_not_brought_back() {
        let mut books = Books::default();
        let a = place("a", Some("ann"));
        open(&mut books, &a, 1);

        let walk = books.begin_walk();
        books.begin_look();
        // Another walk's page ends first.
        list(&mut books, walk, &[]);
        books.ended(&a.repository, &id(1));
        books.found(a.clone(), id(1), walk);
        books.end_look();
        books.end_walk(walk);

        assert_empty(&books);
    }

    #[test]
    fn a_session_that_is_absent_counts_no_longer_and_is_not_remembered() {
        let mut books = Books::default();
        let a = place("a", Some("ann"));
        open(&mut books, &a, 1);

        books.begin_look();
        books.absent(&a.repository, &id(1));
        for number in 2..100 {
            books.absent(&a.repository, &id(number));
        }

        assert_empty(&books);
    }

    #[test]
    fn a_session_that_is_listed_before_its_opening_is_recorded_counts_once() {
        let mut books = Books::default();
        let (a, unknown) = (place("a", Some("ann")), place("a", None));
        let seat = books.admit(&a, UploadBounds::NONE).unwrap();

        let walk = books.begin_walk();
        list(&mut books, walk, &[(&unknown, 1), (&unknown, 2)]);
        assert_eq!(books.open(), 1, "both may be the one that is being opened");
        let late = books.admit(&a, UploadBounds::NONE).unwrap();
        books.opened(seat, &a, id(1));
        assert_eq!(books.open(), 3, "the later seat is none of them");
        books.leave(late, &a);
        books.end_walk(walk);

        assert_eq!((books.open(), books.totals.of(a.uploader.as_ref())), (2, 1));
    }

    #[test]
    fn a_session_that_is_listed_and_whose_opening_is_abandoned_counts() {
        let mut books = Books::default();
        let a = place("a", None);
        let seat = books.admit(&a, UploadBounds::NONE).unwrap();
        let walk = books.begin_walk();
        list(&mut books, walk, &[(&a, 1)]);
        books.leave(seat, &a);
        books.end_walk(walk);

        assert_eq!(books.open(), 1);
        assert!(books.admit(&a, limited(1)).is_err());
    }

    #[test]
    fn a_listed_session_that_ends_before_it_counts_never_does() {
        let mut books = Books::default();
        let a = place("a", None);
        let seat = books.admit(&a, UploadBounds::NONE).unwrap();
        let walk = books.begin_walk();
        list(&mut books, walk, &[(&a, 1)]);
        books.ended(&a.repository, &id(1));
        books.leave(seat, &a);

        assert_empty(&books);
    }

    #[test]
    fn of_two_walks_the_earlier_one_drops_nothing_that_the_later_one_found() {
        let mut books = Books::default();
        let a = place("a", None);
        let first = books.begin_walk();
        list(&mut books, first, &[]);
        let second = books.begin_walk();
        list(&mut books, second, &[(&a, 1)]);
        books.end_walk(first);
        books.end_walk(second);

        assert_eq!(books.open(), 1);
    }

    #[test]
    fn the_sessions_of_a_repository_that_cannot_be_listed_stay() {
        let mut books = Books::default();
        let (a, b) = (place("a", None), place("b", None));
        open(&mut books, &a, 1);
        open(&mut books, &b, 2);

        let walk = books.begin_walk();
        books.keep(&a.repository, walk);
        books.end_walk(walk);

        assert_eq!(books.sessions(), [(a.repository, id(1))]);
    }

    #[test]
    fn one_id_in_two_repositories_is_two_sessions() {
        let mut books = Books::default();
        let (a, copy) = (place("a", None), place("copy", None));
        let walk = books.begin_walk();
        list(&mut books, walk, &[(&a, 1)]);
        list(&mut books, walk, &[(&copy, 1)]);
        assert_eq!(books.open(), 2);

        books.ended(&a.repository, &id(1));

        assert_eq!(books.sessions(), [(copy.repository, id(1))]);
    }
}

//! Walking over a range of a table. A cursor sees the table as it was when the cursor was made.
//! Waits for the disk.

use rocksdb::{DBRawIterator, ReadOptions, Snapshot};
use serde::de::DeserializeOwned;

use super::read::{self, Store};
use super::rows;
use super::tables::Table;
use crate::MetaResult;

/// A place in a table, at a row or at the range's end.
pub(super) struct Cursor<'s, R> {
    table: Table<R>,
    rows: DBRawIterator<'s>,
    /// Rows stepped or leapt to: what the walk cost.
    moves: u64,
}

impl<'s, R: DeserializeOwned> Cursor<'s, R> {
    /// A cursor at the first row of `start..end`.
    pub(super) fn over(store: &'s Store, table: Table<R>, start: Vec<u8>, end: Vec<u8>) -> Self {
        Self::with(ReadOptions::default(), store, table, start, end)
    }

    /// As [`over`](Self::over), of the table as it was at `moment`.
    pub(super) fn over_at(
        moment: &'s Snapshot<'s>,
        store: &'s Store,
        table: Table<R>,
        start: Vec<u8>,
        end: Vec<u8>,
    ) -> Self {
        let mut options = ReadOptions::default();
        options.set_snapshot(moment);
        Self::with(options, store, table, start, end)
    }

    fn with(
        mut options: ReadOptions,
        store: &'s Store,
        table: Table<R>,
        start: Vec<u8>,
        end: Vec<u8>,
    ) -> Self {
        options.set_iterate_lower_bound(start);
        options.set_iterate_upper_bound(end);
        let mut rows = store
            .db
            .raw_iterator_cf_opt(store.family(table.name), options);
        rows.seek_to_first();
        Self {
            table,
            rows,
            moves: 1,
        }
    }

    /// Leaps to the first row that is not before `bound`.
    pub(super) fn seek(&mut self, bound: &[u8]) {
        self.rows.seek(bound);
        self.moves += 1;
    }

    /// Steps to the next row.
    pub(super) fn step(&mut self) {
        self.rows.next();
        self.moves += 1;
    }

    /// The key of the row here; `None` at the end.
    pub(super) fn key(&self) -> MetaResult<Option<&[u8]>> {
        match self.rows.key() {
            Some(key) => Ok(Some(key)),
            // An iterator that failed looks as if it had ended.
            None => match self.rows.status() {
                Ok(()) => Ok(None),
                Err(error) => Err(read::read_error(self.table, error)),
            },
        }
    }

    /// The row here.
    pub(super) fn row(&self) -> MetaResult<R> {
        rows::decode(self.table, self.rows.value().unwrap_or_default())
    }

    /// How many rows the cursor has moved to.
    pub(super) fn moves(&self) -> u64 {
        self.moves
    }
}

impl Store {
    /// Up to `limit` rows of `start..end`, each with its key.
    pub(super) fn range<R: DeserializeOwned>(
        &self,
        table: Table<R>,
        start: Vec<u8>,
        end: Vec<u8>,
        limit: usize,
    ) -> MetaResult<Vec<(Vec<u8>, R)>> {
        self.rows_in(table, start, end, limit, |_, row| row.map(Some))
    }

    /// As [`range`](Self::range), without rows that cannot be decoded: for queues, whose rows stand for
    /// themselves.
    pub(super) fn readable_range<R: DeserializeOwned>(
        &self,
        table: Table<R>,
        start: Vec<u8>,
        end: Vec<u8>,
        limit: usize,
    ) -> MetaResult<Vec<(Vec<u8>, R)>> {
        let note = |key: &[u8], failure| self.damaged.note(table.name, key, &failure);
        self.rows_in(table, start, end, limit, |key, row| {
            Ok(row.map_err(|failure| note(key, failure)).ok())
        })
    }

    /// Up to `limit` rows of `start..end` that `choose` does not leave out.
    fn rows_in<R: DeserializeOwned>(
        &self,
        table: Table<R>,
        start: Vec<u8>,
        end: Vec<u8>,
        limit: usize,
        choose: impl Fn(&[u8], MetaResult<R>) -> MetaResult<Option<R>>,
    ) -> MetaResult<Vec<(Vec<u8>, R)>> {
        let mut chosen = Vec::new();
        if limit == 0 || start >= end {
            return Ok(chosen);
        }
        let mut cursor = Cursor::over(self, table, start, end);
        while let Some(key) = cursor.key()? {
            if let Some(row) = choose(key, cursor.row())? {
                chosen.push((key.to_vec(), row));
            }
            if chosen.len() == limit {
                break;
            }
            cursor.step();
        }
        Ok(chosen)
    }

    /// Whether `start..end` has any row.
    pub(super) fn has_any<R: DeserializeOwned>(
        &self,
        table: Table<R>,
        start: Vec<u8>,
        end: Vec<u8>,
    ) -> MetaResult<bool> {
        Ok(Cursor::over(self, table, start, end).key()?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use crate::rocks::keys;
    use crate::rocks::open::open;
    use crate::rocks::tables::GC;
    use crate::{GcItem, RocksOptions, Timestamp};
    use uuid::Uuid;

    #[test]
    fn a_damaged_row_of_a_queue_does_not_stop_those_behind_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path(), &RocksOptions::default()).unwrap();
        let ids = [Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3)];
        let item = super::rows::encode(&GcItem::Chunks(Vec::new()));
        for id in ids {
            let row = if id == ids[1] { &b"torn"[..] } else { &item };
            let family = store.family(GC.name);
            store
                .db
                .put_cf(family, keys::gc(Timestamp(5), id), row)
                .unwrap();
        }
        for _ in 0..2 {
            let due = store.gc_due(Timestamp(9), None, 2).unwrap();
            assert_eq!(
                due.iter().map(|entry| entry.id).collect::<Vec<_>>(),
                [ids[0], ids[2]]
            );
            assert_eq!(store.damaged.count(), 1);
        }
    }
}

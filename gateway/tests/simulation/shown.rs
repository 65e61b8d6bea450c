//! A value that changes and can be waited for. (`tokio::sync::watch` wakes in an order of its own
//! chance; this wakes those first who waited first.)

use std::pin::pin;
use std::sync::Mutex;

use tokio::sync::Notify;

pub struct Shown<T> {
    value: Mutex<T>,
    changes: Notify,
}

impl<T: Clone> Shown<T> {
    pub fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changes: Notify::new(),
        }
    }

    pub fn get(&self) -> T {
        self.value.lock().unwrap().clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.value.lock().unwrap());
        self.changes.notify_waiters();
    }

    /// Returns what `found` finds in the value, at once or after some change.
    pub async fn until<F>(&self, found: impl Fn(&T) -> Option<F>) -> F {
        loop {
            let mut changed = pin!(self.changes.notified());
            changed.as_mut().enable();
            if let Some(found) = found(&self.value.lock().unwrap()) {
                return found;
            }
            changed.await;
        }
    }
}

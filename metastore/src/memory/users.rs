//! Users, by the words of the contract.

use super::state::State;
use crate::{MetaError, MetaResult, User, UserName};

impl State {
    pub(super) fn put_user(&mut self, user: User) -> MetaResult<()> {
        let others = || self.users.values().filter(|other| other.id != user.id);
        for key in &user.keys {
            let taken = |other: &User| {
                let mut keys = other.keys.iter();
                keys.any(|taken| taken.access_key == key.access_key)
            };
            if others().any(taken) {
                return Err(MetaError::NameTaken(key.access_key.clone()));
            }
        }
        if let Some(email) = &user.email
            && others().any(|other| other.email.as_ref() == Some(email))
        {
            return Err(MetaError::NameTaken(email.clone()));
        }
        self.users.insert(user.id.clone(), user);
        Ok(())
    }

    pub(super) fn delete_user(&mut self, id: &str) -> MetaResult<()> {
        let deleted = self.users.remove(id);
        deleted.map(drop).ok_or(MetaError::NoSuchUser)
    }

    pub(super) fn user(&self, name: UserName<'_>) -> MetaResult<User> {
        let is_wanted = |user: &&User| match name {
            UserName::Id(id) => user.id == id,
            UserName::Email(email) => user.email.as_deref() == Some(email),
            UserName::AccessKey(key) => user.keys.iter().any(|own| own.access_key == key),
        };
        let found = self.users.values().find(is_wanted).cloned();
        found.ok_or(MetaError::NoSuchUser)
    }

    pub(super) fn list_users(&self, after: Option<&str>, limit: usize) -> Vec<User> {
        let behind = self
            .users
            .values()
            .filter(|user| Some(user.id.as_str()) > after);
        behind.take(limit).cloned().collect()
    }
}
